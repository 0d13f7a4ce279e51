"""Every size, however odd, is exactly `scale` times as large."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.fidelity.enlarging import Enlarge, file_of
from worker.contract.jobs import PictureFormat

SIZES = [(1, 1), (1, 2), (2, 1), (1, 300), (300, 1), (3, 3), (7, 5), (97, 101), (129, 2)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("model", ["bicubic", "espcn", "edsr-baseline"])
def test_a_result_is_exactly_so_many_times_as_large(
    enlarge: Enlarge, size: tuple[int, int], scale: int, model: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    for name in ("PNG", "JPEG"):
        result = enlarge(file_of(Image.fromarray(noise), name), scale=scale, model=model)
        assert Image.open(io.BytesIO(result.content)).size == (size[0] * scale, size[1] * scale)


@pytest.mark.parametrize("size", [(30_000, 10), (10, 30_000)])
@pytest.mark.parametrize("model", ["bicubic", "espcn"])
def test_very_long_pictures(enlarge: Enlarge, size: tuple[int, int], model: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    result = enlarge(file_of(Image.fromarray(noise)), scale=2, model=model)
    assert Image.open(io.BytesIO(result.content)).size == (size[0] * 2, size[1] * 2)


@pytest.mark.parametrize("output_format", list(PictureFormat))
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_one_pixel_in_every_format(enlarge: Enlarge, mode: str, output_format: PictureFormat) -> None:
    image = Image.new("RGBA", (1, 1), (200, 100, 50, 128)).convert(mode)
    result = enlarge(file_of(image), output_format, scale=3)
    made = Image.open(io.BytesIO(result.content))
    made.load()
    assert made.size == (3, 3)
