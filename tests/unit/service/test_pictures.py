import io
import struct
from contextlib import nullcontext, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from service.errors import IMAGE_DAMAGED, PICTURE_ANIMATED, RESULT_TOO_LARGE, TOO_MANY_PIXELS, ProblemError
from service.pictures import LEAST_FRAME_PX, check_result_fits, inspect
from tests.unit.service.pictures import FORMATS, WITH_EXIF, animated, encoded
from worker.contract.finish import UNCHANGED, Finish
from worker.contract.jobs import PictureFormat
from worker.contract.reading import Frames

SAMPLES = [encoded(name) for name in FORMATS]


@given(name=st.sampled_from(sorted(FORMATS)), width=st.integers(1, 200), height=st.integers(1, 200))
def test_the_header_tells_the_size(name: str, width: int, height: int) -> None:
    picture = inspect(io.BytesIO(encoded(name, width, height)), "a", 40_000)
    assert (picture.width_px, picture.height_px) == (width, height)
    assert picture.format is FORMATS[name]
    assert (picture.frames, picture.on_its_side) == (1, False)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(
    sample=st.sampled_from(SAMPLES),
    changes=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=12),
)
def test_a_damaged_header_is_a_problem_and_never_a_crash(
    sample: bytes, changes: list[tuple[int, int]]
) -> None:
    content = bytearray(sample)
    for position, value in changes:
        content[position % min(len(content), 400)] = value
    with suppress(ProblemError):
        inspect(io.BytesIO(bytes(content)), "", 1_000_000)


@pytest.mark.parametrize("name", ["PNG", "WEBP", "GIF", "TIFF"])
def test_an_animation_is_refused_unless_it_is_asked_for(name: str) -> None:
    with pytest.raises(ProblemError) as raised:
        inspect(io.BytesIO(animated(name)), "", 1_000_000)
    assert raised.value.kind is PICTURE_ANIMATED
    first = inspect(io.BytesIO(animated(name)), "", 16 * 16, Frames.FIRST)
    assert (first.frames, first.pixels) == (1, 16 * 16)
    every = inspect(io.BytesIO(animated(name)), "", 2 * LEAST_FRAME_PX, Frames.ALL)
    assert (every.frames, every.pixels) == (2, 2 * 16 * 16)
    with pytest.raises(ProblemError) as raised:
        inspect(io.BytesIO(animated(name)), "", 2 * LEAST_FRAME_PX - 1, Frames.ALL)
    assert raised.value.kind is TOO_MANY_PIXELS


def test_all_frames_count() -> None:
    several = io.BytesIO(animated("GIF", 200))
    assert inspect(several, "", 2 * 200 * 200, Frames.ALL).pixels == 2 * 200 * 200
    with pytest.raises(ProblemError) as raised:
        inspect(several, "", 2 * 200 * 200 - 1, Frames.ALL)
    assert raised.value.kind is TOO_MANY_PIXELS


def test_a_webp_bomb_is_refused_before_its_canvas_is_made() -> None:
    bomb = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f" + b"\xff\xff\xff\x0f" + bytes(9)
    with pytest.raises(ProblemError) as raised:
        inspect(io.BytesIO(bomb), "", 50_000_000)
    assert raised.value.kind is TOO_MANY_PIXELS


@pytest.mark.parametrize(
    ("width", "scale", "output_format", "kind"),
    [
        (4095, 4, PictureFormat.WEBP, None),
        (4096, 4, PictureFormat.WEBP, RESULT_TOO_LARGE),
        (16_375, 4, PictureFormat.JPEG, None),
        (16_376, 4, PictureFormat.JPEG, RESULT_TOO_LARGE),
        (16_384, 4, PictureFormat.AVIF, None),
        (16_385, 4, PictureFormat.AVIF, RESULT_TOO_LARGE),
        (250_000, 4, PictureFormat.PNG, None),
        (250_000, 4, PictureFormat.TIFF, None),
        (250_001, 4, PictureFormat.PNG, TOO_MANY_PIXELS),
    ],
)
def test_a_result_must_fit(width: int, scale: int, output_format: PictureFormat, kind: object) -> None:
    with nullcontext() if kind is None else pytest.raises(ProblemError) as raised:
        check_result_fits((width, 1), scale, output_format, 4_000_000, UNCHANGED)
    assert kind is (raised.value.kind if raised else None)


def test_only_the_result_must_fit_its_format_where_it_is_reduced() -> None:
    check_result_fits((20_000, 1), 4, PictureFormat.JPEG, 4_000_000, Finish(width_px=65_000))
    with pytest.raises(ProblemError) as raised:
        check_result_fits((20_000, 1), 4, PictureFormat.JPEG, 4_000_000, Finish(width_px=66_000))
    assert raised.value.kind is RESULT_TOO_LARGE


@pytest.mark.parametrize("name", WITH_EXIF)
@pytest.mark.parametrize(
    ("orientation", "size_px"), [(1, (40, 30)), (3, (40, 30)), (6, (30, 40)), (8, (30, 40))]
)
def test_a_picture_is_as_wide_as_people_see_it(name: str, orientation: int, size_px: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO(encoded(name, exif=exif))
    assert inspect(file, "", 10_000).upright_px == size_px


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_says_nothing() -> None:
    file = io.BytesIO(encoded("JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"))
    assert inspect(file, "", 10_000).upright_px == (40, 30)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize(
    "content",
    [
        b"II+\0" + struct.pack("<HHQ", 8, 0, 2**64 - 1) + bytes(64),
        b"II+\0"
        + struct.pack("<HHQQ", 8, 0, 16, 2)
        + struct.pack("<HHQd", 256, 12, 1, float("inf"))
        + struct.pack("<HHQQ", 257, 4, 1, 9)
        + bytes(8),
    ],
)
def test_a_big_tiff_of_nonsense_is_damaged(content: bytes) -> None:
    with pytest.raises(ProblemError) as raised:
        inspect(io.BytesIO(content), "", 1_000_000)
    assert raised.value.kind is IMAGE_DAMAGED
