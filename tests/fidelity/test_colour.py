"""Colours are right: profiles kept byte for byte, or applied; CMYK, Lab and YCbCr as they are meant."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.fidelity.enlarging import Enlarge, deep_file_of, file_of, opened, png_chunk, stored
from tests.fidelity.profiles import p3_profile, press_profile, srgb_of_p3
from tests.pictures import natural_picture
from worker.contract.jobs import Note, PictureFormat
from worker.contract.reading import Colorspace, Reading
from worker.errors import PictureDamagedError

TO_SRGB = Reading(colorspace=Colorspace.SRGB)
LOSSLESS = (PictureFormat.PNG, PictureFormat.TIFF)


@pytest.mark.parametrize("output_format", list(PictureFormat))
@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_a_profile_is_kept_byte_for_byte(enlarge: Enlarge, name: str, output_format: PictureFormat) -> None:
    profile = p3_profile()
    result = enlarge(file_of(natural_picture(20, 16), name, icc_profile=profile), output_format)
    assert opened(result.content).info["icc_profile"] == profile
    assert result.notes == ()


@pytest.mark.parametrize("output_format", LOSSLESS)
@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_a_profile_is_kept_with_sixteen_bits(
    enlarge: Enlarge, name: str, output_format: PictureFormat
) -> None:
    samples = np.asarray(natural_picture(20, 16)).astype(np.uint16) * 257
    result = enlarge(deep_file_of(samples, name, p3_profile()), output_format)
    kept = opened(result.content) if output_format is PictureFormat.PNG else None
    if kept:
        assert kept.info["icc_profile"] == p3_profile()
    else:
        with tifffile.TiffFile(io.BytesIO(result.content)) as file:
            assert file.pages[0].iccprofile == p3_profile()  # type: ignore[union-attr]


COLOURS = [(200, 100, 50), (10, 200, 30), (128, 128, 128), (255, 255, 255), (0, 0, 0), (90, 20, 160)]


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_srgb_is_what_the_profile_means(enlarge: Enlarge, colour: tuple[int, int, int], mode: str) -> None:
    image = Image.new("RGB", (6, 5), colour).convert(mode)
    result = enlarge(file_of(image, icc_profile=p3_profile()), reading=TO_SRGB)
    assert result.notes == (Note.CONVERTED_TO_SRGB,)
    converted = opened(result.content)
    assert converted.mode == mode
    assert "icc_profile" not in converted.info
    expected = srgb_of_p3(np.array(colour) / 255) * 255
    assert np.abs(np.asarray(converted)[0, 0, :3] - expected).max() <= 2


@pytest.mark.parametrize("colour", COLOURS)
def test_srgb_of_sixteen_bits(enlarge: Enlarge, colour: tuple[int, int, int]) -> None:
    samples = np.full((6, 5, 3), np.array(colour) * 257, np.uint16)
    result = enlarge(deep_file_of(samples, "PNG", p3_profile()), reading=TO_SRGB)
    assert result.notes == (Note.CONVERTED_TO_SRGB,)
    made = stored(result.content)
    assert made.dtype == np.uint16
    assert np.abs(made[0, 0] / 257 - srgb_of_p3(np.array(colour) / 255) * 255).max() <= 2.5


def test_without_a_profile_srgb_changes_nothing(enlarge: Enlarge) -> None:
    content = file_of(natural_picture(12, 9))
    assert enlarge(content, reading=TO_SRGB).content == enlarge(content).content
    assert enlarge(content, reading=TO_SRGB).notes == ()


def test_a_profile_of_nonsense_is_kept_but_cannot_be_applied(enlarge: Enlarge) -> None:
    content = file_of(natural_picture(12, 9), icc_profile=b"nonsense")
    assert opened(enlarge(content).content).info["icc_profile"] == b"nonsense"
    with pytest.raises(PictureDamagedError, match="profile"):
        enlarge(content, reading=TO_SRGB)


INKS = {
    (255, 0, 0, 0): (0, 255, 255),
    (0, 255, 0, 0): (255, 0, 255),
    (0, 0, 255, 0): (255, 255, 0),
    (0, 0, 0, 0): (255, 255, 255),
    (0, 0, 0, 255): (0, 0, 0),
}


@pytest.mark.parametrize("ink", INKS)
@pytest.mark.parametrize("name", ["JPEG", "TIFF"])
def test_cmyk_without_a_profile(enlarge: Enlarge, name: str, ink: tuple[int, int, int, int]) -> None:
    """A JPEG's is inverted, as Adobe's programs began it, and Pillow writes it so."""
    result = enlarge(file_of(Image.new("CMYK", (16, 16), ink), name), PictureFormat.PNG)
    assert Note.CONVERTED_TO_SRGB in result.notes
    image = opened(result.content)
    assert image.mode == "RGB"
    assert np.abs(np.asarray(image)[8, 8].astype(int) - INKS[ink]).max() <= 6


@pytest.mark.parametrize("name", ["JPEG", "TIFF"])
def test_cmyk_by_its_profile(enlarge: Enlarge, name: str) -> None:
    """The press of the test prints green where cyan is asked for."""
    profile = press_profile()
    made = {}
    for ink in INKS:
        content = file_of(Image.new("CMYK", (16, 16), ink), name, icc_profile=profile)
        result = enlarge(content, PictureFormat.PNG)
        assert "icc_profile" not in opened(result.content).info
        made[ink] = np.asarray(opened(result.content))[8, 8].astype(int)
    red, green, blue = made[(255, 0, 0, 0)]
    assert green > 120
    assert max(red, blue) < green - 60
    assert made[(0, 0, 0, 0)].min() > 245
    assert made[(0, 0, 0, 255)].max() < 12
    assert np.ptp(made[(0, 255, 0, 0)]) <= 6  # magenta is grey there


@pytest.mark.parametrize(
    ("lab", "expected"),
    [((128, 128, 128), (119, 119, 119)), ((255, 128, 128), (255, 255, 255)), ((136, 208, 195), (255, 0, 0))],
)
def test_lab(enlarge: Enlarge, lab: tuple[int, int, int], expected: tuple[int, int, int]) -> None:
    """L of 50 is a grey of 119; (53, 80, 67) is sRGB's red (CIE 15)."""
    image = Image.new("LAB", (8, 8), lab)
    result = enlarge(file_of(image, "TIFF"), PictureFormat.PNG)
    assert np.abs(np.asarray(opened(result.content))[4, 4].astype(int) - expected).max() <= 12


@pytest.mark.parametrize("colour", COLOURS)
def test_ycbcr(enlarge: Enlarge, colour: tuple[int, int, int]) -> None:
    image = Image.new("RGB", (16, 16), colour)
    for content in (
        file_of(image, "TIFF", compression="jpeg", quality=95),
        file_of(image, "JPEG", quality=95),
    ):
        result = enlarge(content, PictureFormat.PNG)
        assert np.abs(np.asarray(opened(result.content))[8, 8].astype(int) - colour).max() <= 5


def test_a_pngs_gamma_is_kept(enlarge: Enlarge) -> None:
    png = file_of(natural_picture(8, 8))
    content = png[:33] + png_chunk(b"gAMA", (100_000).to_bytes(4)) + png[33:]
    assert opened(content).info["gamma"] == 1.0
    assert opened(enlarge(content).content).info["gamma"] == 1.0
