import io
from contextlib import nullcontext, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import PICTURE_ANIMATED, RESULT_TOO_LARGE, TOO_MANY_PIXELS, ProblemError
from service.pictures import check_result_fits, inspect
from tests.unit.service.pictures import FORMATS, animated, encoded
from worker.contract.jobs import InputPicture, PictureFormat

SAMPLES = [encoded(name) for name in FORMATS]


@given(name=st.sampled_from(FORMATS), width=st.integers(1, 200), height=st.integers(1, 200))
def test_the_header_tells_the_size(name: str, width: int, height: int) -> None:
    picture = inspect(io.BytesIO(encoded(name, width, height)), "a", 40_000)
    assert (picture.width_px, picture.height_px) == (width, height)
    assert picture.format.value == name.lower()


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


@pytest.mark.parametrize("name", ["PNG", "WEBP"])
def test_an_animation_is_refused(name: str) -> None:
    with pytest.raises(ProblemError) as raised:
        inspect(io.BytesIO(animated(name)), "", 1_000_000)
    assert raised.value.kind is PICTURE_ANIMATED


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
        (250_000, 4, PictureFormat.PNG, None),
        (250_001, 4, PictureFormat.PNG, TOO_MANY_PIXELS),
    ],
)
def test_a_result_must_fit(width: int, scale: int, output_format: PictureFormat, kind: object) -> None:
    picture = InputPicture(PictureFormat.PNG, width, 1, 100, "", "")
    with nullcontext() if kind is None else pytest.raises(ProblemError) as raised:
        check_result_fits(picture, scale, output_format, max_pixels=4_000_000)
    assert kind is (raised.value.kind if raised else None)
