"""Grey stays grey, and 16 bits stay 16."""

import numpy as np
import pytest
from PIL import Image

from tests.fidelity.enlarging import Enlarge, deep_file_of, file_of, opened, reference_bicubic, stored
from tests.pictures import natural_picture
from worker.contract.finish import Finish
from worker.contract.jobs import Note, PictureFormat

MODELS = ("bicubic", "espcn", "edsr-baseline", "srresnet", "srgan", "edsr-photo")


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("output_format", list(PictureFormat))
def test_grey_stays_one_channel(enlarge: Enlarge, model: str, output_format: PictureFormat) -> None:
    grey = natural_picture(24, 18, 3).convert("L")
    result = opened(enlarge(file_of(grey), output_format, scale=4, model=model).content)
    if output_format in (PictureFormat.WEBP, PictureFormat.AVIF):  # these know no grey
        samples = np.asarray(result.convert("RGB")).astype(int)
        assert np.ptp(samples, axis=2).max() <= 2
    else:
        assert result.mode == "L"


def test_a_grey_picture_in_rgb_keeps_its_channels_alike(enlarge: Enlarge) -> None:
    """By the models of fidelity; a picture of three channels stays one of three."""
    grey = natural_picture(24, 18, 3).convert("L").convert("RGB")
    result = np.asarray(opened(enlarge(file_of(grey)).content))
    assert (result == result[..., :1]).all()


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("output_format", [PictureFormat.PNG, PictureFormat.TIFF])
def test_sixteen_bits_stay_sixteen(
    enlarge: Enlarge, name: str, channels: int, output_format: PictureFormat
) -> None:
    samples = np.random.default_rng(channels).integers(1, 65_536, (11, 14, channels)).astype(np.uint16)
    result = stored(enlarge(deep_file_of(samples, name), output_format).content)
    assert result.dtype == np.uint16
    reference = reference_bicubic(samples, 2).clip(0, 65_535)
    assert np.abs(result - reference).max() <= 1


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_dark_picture_keeps_its_steps(enlarge: Enlarge, model: str, channels: int) -> None:
    """All its values are under 256: to whoever takes it for one of 8 bits it would be white, to whoever divides by 256 black."""
    ramp = np.linspace(20, 250, 40).astype(np.uint16)
    samples = np.broadcast_to(ramp[None, :, None], (24, 40, channels))
    result = stored(enlarge(deep_file_of(np.ascontiguousarray(samples)), scale=4, model=model).content)
    assert result.dtype == np.uint16
    middle = result[40:56].astype(float)
    expected = np.interp((np.arange(160) + 0.5) / 4 - 0.5, np.arange(40), ramp)
    # A network's own error is some 255ths; what it must not lose is that the picture has steps finer than those.
    assert len(np.unique(result)) > 100
    slope = np.polyfit(expected, middle.mean(axis=(0, 2)), 1)[0]
    assert 0.5 < slope < 1.5
    if model == "bicubic":
        assert np.abs(middle.mean(axis=(0, 2)) - expected)[8:-8].max() <= 1.5


@pytest.mark.parametrize("output_format", [PictureFormat.JPEG, PictureFormat.WEBP, PictureFormat.AVIF])
def test_a_format_of_eight_bits_says_so(enlarge: Enlarge, output_format: PictureFormat) -> None:
    samples = np.asarray(natural_picture(20, 16)).astype(np.uint16) * 257
    result = enlarge(deep_file_of(samples), output_format, quality=100)
    assert result.notes == (Note.REDUCED_TO_8_BITS,)
    shallow = enlarge(file_of(natural_picture(20, 16)), output_format, quality=100)
    difference = np.asarray(opened(result.content).convert("RGB")).astype(int) - np.asarray(
        opened(shallow.content).convert("RGB")
    )
    assert np.abs(difference).mean() < 1


def test_sharpening_and_reducing_keep_sixteen_bits(enlarge: Enlarge) -> None:
    samples = np.asarray(natural_picture(20, 16)).astype(np.uint16) * 200 + 77
    result = stored(enlarge(deep_file_of(samples), scale=4, finish=Finish(width_px=50, sharpen=0.5)).content)
    assert result.dtype == np.uint16
    assert result.shape == (40, 50, 3)
    assert len(np.unique(result % 257)) > 100


def test_one_bit_pictures_become_grey(enlarge: Enlarge) -> None:
    bits = natural_picture(20, 20).convert("1")
    for name in ("PNG", "TIFF", "BMP", "PPM"):
        assert opened(enlarge(file_of(bits, name), PictureFormat.PNG).content).mode == "L"


def test_grey_of_sixteen_bits_by_pillow(enlarge: Enlarge) -> None:
    samples = np.random.default_rng(0).integers(0, 65_536, (9, 9)).astype(np.uint16)
    result = opened(enlarge(file_of(Image.fromarray(samples))).content)
    assert result.mode == "I;16"


@pytest.mark.parametrize("kind", ["P2", "P3", "P5", "P6"])
@pytest.mark.parametrize("most", [65_535, 1023])
def test_netpbms_of_more_than_eight_bits(enlarge: Enlarge, kind: str, most: int) -> None:
    channels = 3 if kind in ("P3", "P6") else 1
    samples = np.random.default_rng(5).integers(0, most + 1, (6, 7, channels)).astype(np.uint16)
    head = f"{kind} # somebody's\n7 6\n{most}\n".encode()
    words = " ".join(map(str, samples.ravel().tolist())).encode() + b"\n"
    content = head + (words if kind in ("P2", "P3") else samples.astype(">u2").tobytes())
    result = stored(enlarge(content).content)
    assert result.dtype == np.uint16
    reference = reference_bicubic(samples * (65_535 / most), 2).clip(0, 65_535)
    assert np.abs(result - reference).max() <= 2
