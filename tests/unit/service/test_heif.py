import io

import pillow_heif
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from service.completeness import DamagedError, TruncatedError
from service.heif import read_header

SAMPLES: dict[tuple[str, tuple[int, int]], bytes] = {}


def sample(name: str, size: tuple[int, int]) -> bytes:
    """A file of that size, made once."""
    if (name, size) not in SAMPLES:
        image, file = Image.effect_noise(size, 60).convert("RGB"), io.BytesIO()
        if name == "heic":
            pillow_heif.from_pillow(image).save(file)
        else:
            image.save(file, "AVIF")
        SAMPLES[name, size] = file.getvalue()
    return SAMPLES[name, size]


@pytest.mark.parametrize("name", ["heic", "avif"])
@pytest.mark.parametrize("size", [(64, 64), (48, 36), (130, 66), (33, 21), (257, 100)])
def test_the_header_tells_the_size_that_is_decoded(name: str, size: tuple[int, int]) -> None:
    content = sample(name, size)
    found = read_header(io.BytesIO(content))
    opened = pillow_heif.open_heif(content) if name == "heic" else Image.open(io.BytesIO(content))
    assert (found.width_px, found.height_px) == opened.size == size
    assert (found.on_its_side, found.sequence) == (False, False)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_quarter_turn_is_told(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.new("RGB", (48, 32)).save(file, "AVIF", exif=exif)
    found = read_header(file)
    assert (found.width_px, found.height_px) == (48, 32)
    assert found.on_its_side == (orientation > 4)


def test_an_animation_is_told() -> None:
    file = io.BytesIO()
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(file, "AVIF", save_all=True, append_images=frames[1:])
    assert read_header(file).sequence


@pytest.mark.parametrize("name", ["heic", "avif"])
@given(
    changes=st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 700),
)
def test_damage_is_named_or_survived(name: str, changes: list[tuple[int, int]], cut: int) -> None:
    content = bytearray(sample(name, (48, 36)))
    for position, value in changes:
        content[position % len(content)] = value
    if cut < 600:
        del content[cut:]
    try:
        found = read_header(io.BytesIO(bytes(content)))
    except (DamagedError, TruncatedError):
        return
    assert found.width_px > 0
    assert found.height_px > 0
