"""Transparency is kept, and no colour that nobody sees shows at its edges."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageDraw

from tests.fidelity.enlarging import Enlarge, deep_file_of, file_of, opened, stored
from tests.pictures import natural_picture
from worker.contract.finish import Finish
from worker.contract.jobs import Note, PictureFormat

MODELS = ("bicubic", "espcn", "edsr-baseline", "srresnet", "srgan", "edsr-photo")
RED = (200, 30, 40)
WITH_ALPHA = (PictureFormat.PNG, PictureFormat.WEBP, PictureFormat.TIFF, PictureFormat.AVIF)


def disk(hidden: tuple[int, int, int], alpha: int = 255) -> Image.Image:
    """A red disk on nothing, where the pixels have some colour that nobody sees."""
    mask = Image.new("L", (40, 36))
    ImageDraw.Draw(mask).ellipse((6, 5, 33, 30), fill=alpha)
    image = Image.composite(
        Image.new("RGB", mask.size, RED),
        Image.new("RGB", mask.size, hidden),
        mask.point(lambda v: 255 * bool(v)),
    )
    image.putalpha(mask)
    return image


@pytest.mark.parametrize("model", MODELS)
def test_the_colour_that_nobody_sees_is_nowhere_in_the_result(enlarge: Enlarge, model: str) -> None:
    results = [
        enlarge(file_of(disk(hidden)), scale=4, model=model).content
        for hidden in [(0, 0, 0), (255, 255, 255), (0, 255, 0)]
    ]
    assert results[0] == results[1] == results[2]
    result = np.asarray(opened(results[0])).astype(int)
    seen = result[..., 3] > 0
    assert seen.any()
    grain = 12 if model == "srgan" else 4  # it draws some wherever it is
    assert np.abs(result[seen][:, :3] - RED).max() <= grain


@pytest.mark.parametrize("output_format", WITH_ALPHA)
def test_every_format_that_can_keeps_it(enlarge: Enlarge, output_format: PictureFormat) -> None:
    given = disk((0, 0, 0))
    result = opened(enlarge(file_of(given), output_format).content)
    assert result.mode == "RGBA"
    difference = np.asarray(result.getchannel("A").resize(given.size, Image.Resampling.BOX)).astype(
        int
    ) - np.asarray(given.getchannel("A"))
    assert np.abs(difference).max() <= 45  # half a pixel at the rim
    assert np.abs(difference).mean() < 4


def test_grey_with_alpha_stays_so(enlarge: Enlarge) -> None:
    image = natural_picture(30, 20).convert("L")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    for output_format in (PictureFormat.PNG, PictureFormat.TIFF):
        assert opened(enlarge(file_of(image), output_format).content).mode == "LA"


def test_palettes_and_transparent_colours_become_alpha(enlarge: Enlarge) -> None:
    palette = natural_picture(24, 24).quantize(16)
    for transparency in (3, bytes(range(0, 256, 16))):
        result = opened(enlarge(file_of(palette, transparency=transparency)).content)
        assert result.mode == "RGBA"
    rgb = Image.new("RGB", (8, 8), (9, 8, 7))
    rgb.paste((1, 2, 3), (0, 0, 4, 8))
    result = opened(enlarge(file_of(rgb, transparency=(1, 2, 3))).content)
    assert result.mode == "RGBA"
    assert (
        np.asarray(result)[4, :, 3].tolist() == [0] * 7 + [32, 223] + [255] * 7
        or np.asarray(result)[4, 0, 3] == 0
    )
    assert (np.asarray(result)[..., :3] == (9, 8, 7)).all()
    grey = Image.new("L", (8, 8), 100)
    grey.paste(50, (0, 0, 4, 8))
    assert opened(enlarge(file_of(grey, transparency=50)).content).mode == "LA"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("alpha", [0, 1, 128, 254, 255])
def test_constant_opacity_stays_what_it_is(enlarge: Enlarge, model: str, alpha: int) -> None:
    image = natural_picture(21, 17)
    image.putalpha(alpha)
    result = np.asarray(opened(enlarge(file_of(image), scale=4, model=model).content))
    assert (result[..., 3] == alpha).all()


def test_nearly_transparent_colours_keep_their_numbers(enlarge: Enlarge) -> None:
    image = natural_picture(20, 20)
    opaque = np.asarray(opened(enlarge(file_of(image)).content))
    image.putalpha(3)
    assert np.array_equal(np.asarray(opened(enlarge(file_of(image)).content))[..., :3], opaque)


def test_a_jpeg_gets_a_background_and_says_so(enlarge: Enlarge) -> None:
    content = file_of(disk((0, 0, 0)))
    for finish, ground in ((Finish(), (255, 255, 255)), (Finish(background="#103050"), (16, 48, 80))):
        result = enlarge(content, PictureFormat.JPEG, finish=finish, quality=95)
        assert result.notes == (Note.TRANSPARENCY_FLATTENED,)
        pixels = np.asarray(opened(result.content)).astype(int)
        assert np.abs(pixels[2, 2] - ground).max() <= 3
        assert np.abs(pixels[36, 40] - RED).max() <= 4
    assert (
        Note.TRANSPARENCY_FLATTENED not in enlarge(file_of(natural_picture(9, 9)), PictureFormat.JPEG).notes
    )


def test_half_seen_is_half_background(enlarge: Enlarge) -> None:
    image = Image.new("RGBA", (16, 16), (*RED, 128))
    pixels = np.asarray(opened(enlarge(file_of(image), PictureFormat.JPEG, quality=100).content)).astype(int)
    assert np.abs(pixels - [round(255 - (255 - v) * 128 / 255) for v in RED]).max() <= 2


def test_sixteen_bits_of_opacity_are_kept(enlarge: Enlarge) -> None:
    samples = np.random.default_rng(1).integers(0, 65_536, (12, 15, 4)).astype(np.uint16)
    samples[..., 3] = np.linspace(300, 700, 15).astype(np.uint16)
    for name in ("PNG", "TIFF"):
        result = stored(enlarge(deep_file_of(samples, name)).content)
        assert result.dtype == np.uint16
        assert result.shape == (24, 30, 4)
        assert len(np.unique(result[..., 3])) > 20


def test_premultiplied_colours_are_divided(enlarge: Enlarge) -> None:
    alpha = np.full((6, 6, 1), 32_768, np.uint16)
    colour = np.full((6, 6, 3), 10_000, np.uint16)
    for dtype, divisor in ((np.uint16, 1), (np.uint8, 256)):
        file = io.BytesIO()
        samples = (np.concatenate([colour, alpha], axis=2) // divisor).astype(dtype)
        tifffile.imwrite(file, samples, photometric="rgb", extrasamples=["assocalpha"])
        result = stored(enlarge(file.getvalue()).content).astype(int)
        expected = int(samples[0, 0, 0]) * int(np.iinfo(dtype).max) / int(samples[0, 0, 3])
        assert np.abs(result[..., :3] - expected).max() <= 1.5
        assert (result[..., 3] == samples[0, 0, 3]).all()
