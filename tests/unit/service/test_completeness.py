import io
import struct
from contextlib import suppress
from typing import Literal

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from service.completeness import (
    MAX_PARTS,
    DamagedError,
    TruncatedError,
    check_complete,
    format_of,
    gif_frames,
    tiff_pages,
)
from tests.unit.service.pictures import FORMATS, encoded
from worker.contract.jobs import InputFormat

WHOLE = {input_format: encoded(name) for name, input_format in FORMATS.items()}
WALKED = (InputFormat.PNG, InputFormat.JPEG, InputFormat.WEBP, InputFormat.BMP)
"""Those of which a cut is told wherever it is."""
WHOLE_PROGRESSIVE = encoded("JPEG", 64, 64, progressive=True)


def check(content: bytes) -> None:
    file = io.BytesIO(content)
    picture_format = format_of(file)
    assert picture_format is not None
    check_complete(file, picture_format)


@pytest.mark.parametrize("picture_format", WHOLE)
def test_a_whole_picture_passes_with_anything_behind_it(picture_format: InputFormat) -> None:
    check(WHOLE[picture_format])
    check(WHOLE[picture_format] + b"left by some camera\xff")


@pytest.mark.parametrize("picture_format", WALKED)
@given(data=st.data())
def test_a_picture_cut_anywhere_is_told(picture_format: InputFormat, data: st.DataObject) -> None:
    whole = WHOLE[picture_format]
    cut = data.draw(st.integers(32, len(whole) - (2 if picture_format is InputFormat.WEBP else 1)))
    with pytest.raises(TruncatedError):
        check(whole[:cut])


@given(cut=st.integers(12, len(WHOLE_PROGRESSIVE) - 1))
def test_a_progressive_jpeg_cut_anywhere_is_told(cut: int) -> None:
    with pytest.raises(TruncatedError):
        check(WHOLE_PROGRESSIVE[:cut])


def test_a_jpeg_of_thousands_of_scans_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check(WHOLE_PROGRESSIVE)
    first = WHOLE_PROGRESSIVE.index(b"\xff\xda")
    head, scans = WHOLE_PROGRESSIVE[:first], WHOLE_PROGRESSIVE[first:-2]
    bomb = head + scans * 100 + b"\xff\xd9"
    for step_bytes in (1, 7, 1 << 20):
        monkeypatch.setattr("service.completeness.SEARCH_STEP_BYTES", step_bytes)
        with pytest.raises(DamagedError, match="scans"):
            check(bomb)


def test_the_end_marker_is_found_across_two_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    for step_bytes in range(1, 50):
        monkeypatch.setattr("service.completeness.SEARCH_STEP_BYTES", step_bytes)
        check(WHOLE[InputFormat.JPEG])


@pytest.mark.parametrize(
    "content",
    [
        WHOLE[InputFormat.PNG][:33] + struct.pack(">I4sI", 0, b"teXt", 0) * (MAX_PARTS + 1),
        b"\xff\xd8" + b"\xff\xe1\0\2" * (MAX_PARTS + 1),
        b"\xff\xd8" + b"\xff" * (2 * MAX_PARTS),
        b"\xff\xd8\xff\xe0\0\4ab" + b"junk" * 1000,
        b"\xff\xd8\xff\xd9" + bytes(20),
    ],
)
def test_a_walk_that_leads_nowhere_ends(content: bytes) -> None:
    with pytest.raises(DamagedError):
        check(content)


MAGIC = (
    b"\x89PNG",
    b"RIFF",
    b"\xff\xd8",
    b"GIF8",
    b"II",
    b"MM",
    b"\0\0\0\x0cjP",
    b"\xff\x4f\xff\x51",
    b"BM",
    b"P",
)


@given(st.binary(max_size=200))
def test_a_format_is_claimed_by_its_first_bytes_only(content: bytes) -> None:
    assert format_of(io.BytesIO(content)) is None or content.startswith(MAGIC) or content[4:8] == b"ftyp"


def gif(frames: int) -> bytes:
    pictures = [Image.new("RGB", (5, 4), (n * 40, 0, 0)) for n in range(frames)]
    file = io.BytesIO()
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:])
    return file.getvalue()


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_a_gifs_frames_are_counted(frames: int) -> None:
    assert gif_frames(io.BytesIO(gif(frames))) == frames


@given(data=st.data())
def test_a_gif_cut_within_its_blocks_is_told(data: st.DataObject) -> None:
    whole = gif(3)
    cut = data.draw(st.integers(20, len(whole) - 2))
    with suppress(TruncatedError, DamagedError):
        assert gif_frames(io.BytesIO(whole[:cut])) < 3


def test_a_gif_without_a_picture_or_with_nonsense_is_damaged() -> None:
    head = gif(1)[:13]
    for content in (head + b";", head + b"x" + bytes(20)):
        with pytest.raises((DamagedError, TruncatedError)):
            gif_frames(io.BytesIO(content))


@pytest.mark.parametrize("pages", [1, 3])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiffs_pages_are_counted(pages: int, big: bool, order: Literal["<", ">"]) -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file, bigtiff=big, byteorder=order) as writer:
        for _ in range(pages):
            writer.write(np.zeros((4, 5), np.uint8), photometric="minisblack")
    assert tiff_pages(file) == pages


def test_a_tiff_that_points_at_itself_ends() -> None:
    content = bytearray(encoded("TIFF"))
    (first,) = struct.unpack_from("<I", content, 4)
    (entries,) = struct.unpack_from("<H", content, first)
    struct.pack_into("<I", content, first + 2 + 12 * entries, first)
    assert tiff_pages(io.BytesIO(content)) == 1


@pytest.mark.parametrize(
    "content", [b"II*\0" + bytes(12), b"II*\0\xff\xff\xff\x7f" + bytes(8), b"II*\0\x08\0\0\0\xff\xff"]
)
def test_a_tiff_without_pages_is_told(content: bytes) -> None:
    with pytest.raises((DamagedError, TruncatedError)):
        tiff_pages(io.BytesIO(content))


def test_a_gif_of_empty_blocks_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.completeness.MAX_GIF_BLOCKS", 1000)
    for block in (b"!\xf9\0", b"," + bytes(9) + b"\x08\0", b"!\xfe" + b"\1a" * 900 + b"\0"):
        with pytest.raises(DamagedError, match="too many blocks"):
            gif_frames(io.BytesIO(gif(1)[:-1] + block * 2000))
