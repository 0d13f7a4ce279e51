import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.completeness import MAX_PARTS, DamagedError, TruncatedError, check_complete, format_of
from tests.unit.service.pictures import FORMATS, encoded
from worker.contract.jobs import READ_FORMATS, PictureFormat

WHOLE = {PictureFormat(name.lower()): encoded(name) for name in FORMATS}
WHOLE_PROGRESSIVE = encoded("JPEG", 64, 64, progressive=True)


def check(content: bytes) -> None:
    file = io.BytesIO(content)
    picture_format = format_of(file)
    assert picture_format is not None
    check_complete(file, picture_format)


@pytest.mark.parametrize("picture_format", READ_FORMATS)
def test_a_whole_picture_passes_with_anything_behind_it(picture_format: PictureFormat) -> None:
    check(WHOLE[picture_format])
    check(WHOLE[picture_format] + b"left by some camera\xff")


@pytest.mark.parametrize("picture_format", READ_FORMATS)
@given(data=st.data())
def test_a_picture_cut_anywhere_is_told(picture_format: PictureFormat, data: st.DataObject) -> None:
    whole = WHOLE[picture_format]
    cut = data.draw(st.integers(12, len(whole) - (2 if picture_format is PictureFormat.WEBP else 1)))
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
        check(WHOLE[PictureFormat.JPEG])


@pytest.mark.parametrize(
    "content",
    [
        WHOLE[PictureFormat.PNG][:33] + struct.pack(">I4sI", 0, b"teXt", 0) * (MAX_PARTS + 1),
        b"\xff\xd8" + b"\xff\xe1\0\2" * (MAX_PARTS + 1),
        b"\xff\xd8" + b"\xff" * (2 * MAX_PARTS),
        b"\xff\xd8\xff\xe0\0\4ab" + b"junk" * 1000,
        b"\xff\xd8\xff\xd9" + bytes(20),
    ],
)
def test_a_walk_that_leads_nowhere_ends(content: bytes) -> None:
    with pytest.raises(DamagedError):
        check(content)


@given(st.binary(max_size=200))
def test_a_format_is_claimed_by_its_first_bytes_only(content: bytes) -> None:
    assert (
        format_of(io.BytesIO(content)) is None
        or content[:4] in (b"\x89PNG", b"RIFF")
        or content[:2] == b"\xff\xd8"
    )
