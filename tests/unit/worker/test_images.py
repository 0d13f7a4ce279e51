"""What is kept of a picture on its way through, and what is refused."""

import contextlib
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.fidelity.enlarging import png_chunk
from worker.contract.jobs import InputFormat, Note, PictureFormat
from worker.errors import PictureDamagedError, PictureTooLargeError, PictureUnsupportedError
from worker.picture import Frame, Picture
from worker.reading import decode
from worker.writing import encode, to_pillow

PNG, JPEG, WEBP = PictureFormat.PNG, PictureFormat.JPEG, PictureFormat.WEBP
ORIENTATION = 0x0112
MAKE = 0x010F


def samples(height: int, width: int, channels: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    noise = np.random.default_rng(height * width).integers(0, 256, (height, width, channels), np.uint8)
    return noise if channels > 1 else noise[..., 0]


def file_of(image: Image.Image, name: str = "png", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def through(image: Image.Image, output_format: PictureFormat = PNG, **options: Any) -> Image.Image:
    content = encode(decode(file_of(image, **options)), output_format, None)
    result = Image.open(io.BytesIO(content))
    result.load()
    return result


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4)])
def test_png_goes_through_unchanged(mode: str, channels: int) -> None:
    image = Image.fromarray(samples(5, 7, channels), mode)
    result = through(image)
    assert (result.mode, result.size) == (mode, (7, 5))
    made, given = np.asarray(result), np.asarray(image)
    if channels in (2, 4):
        assert np.array_equal(made[..., -1], given[..., -1])
        seen = given[..., -1] > 0  # of the rest, the colour is nobody's
        made, given = made[seen], given[seen]
    assert np.array_equal(made, given)


def test_a_palette_keeps_its_colours_and_its_transparency() -> None:
    palette = Image.fromarray(samples(6, 6, 3)).quantize(8)
    assert np.array_equal(np.asarray(through(palette)), np.asarray(palette.convert("RGB")))
    with_hole = through(palette, transparency=0)
    assert with_hole.mode == "RGBA"
    assert (np.asarray(with_hole)[..., 3] == np.where(np.asarray(palette) == 0, 0, 255)).all()


def test_a_transparent_colour_becomes_alpha() -> None:
    image = Image.new("RGB", (3, 1), (1, 2, 3))
    image.putpixel((1, 0), (9, 9, 9))
    result = through(image, transparency=(9, 9, 9))
    assert result.mode == "RGBA"
    assert np.asarray(result)[0, :, 3].tolist() == [255, 0, 255]


def test_orientation_is_applied_and_the_rest_of_exif_and_the_profile_kept() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[MAKE] = "a camera"
    image = Image.fromarray(samples(4, 9, 3))
    for output_format in PictureFormat:
        result = through(image, output_format, exif=exif, icc_profile=b"a profile")
        assert result.size == (4, 9)
        assert result.info["icc_profile"] == b"a profile"
        kept = dict(result.getexif())
        assert kept.pop(MAKE) == "a camera"
        assert ORIENTATION not in kept
        assert (
            not kept or output_format is PictureFormat.TIFF
        )  # there, the pixels are described in the same place
    assert np.array_equal(np.asarray(through(image, exif=exif)), np.rot90(np.asarray(image), -1))


def test_transparency_is_composed_on_white_for_jpeg() -> None:
    image = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    assert np.asarray(through(image, JPEG)).min() >= 254
    grey = Image.new("LA", (8, 8), (0, 0))
    result = through(grey, JPEG)
    assert result.mode == "L"
    assert np.asarray(result).min() >= 254


def test_cmyk_becomes_rgb_without_its_profile() -> None:
    content = file_of(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "jpeg", icc_profile=b"a press")
    picture = decode(content)
    assert picture.icc_profile is None
    red, green, blue = picture.colour[0, 0]
    assert red < 10
    assert min(green, blue) > 245


def test_the_same_picture_gives_the_same_bytes() -> None:
    picture = decode(file_of(Image.fromarray(samples(16, 16, 4))))
    for output_format in PictureFormat:
        assert encode(picture, output_format, 80) == encode(picture, output_format, 80)


def test_quality_is_heeded() -> None:
    picture = decode(file_of(Image.fromarray(samples(64, 64, 3))))
    for output_format in (JPEG, WEBP):
        assert len(encode(picture, output_format, 20)) < len(encode(picture, output_format, 95))


@pytest.mark.parametrize("quality", [None, 30, 90, 94, 100])
@pytest.mark.parametrize("size", [(256, 256), (1, 16_000), (3000, 2)])
def test_noise_can_be_a_jpeg(size: tuple[int, int], quality: int | None) -> None:
    picture = decode(file_of(Image.fromarray(samples(*size, 3))))
    result = Image.open(io.BytesIO(encode(picture, JPEG, quality)))
    result.load()
    assert result.size == (size[1], size[0])


def test_fine_detail_everywhere_can_be_a_webp() -> None:
    # The least effort finds no room for what it has to say of so many blocks.
    noise = np.random.default_rng(0).integers(0, 40, (5000, 5000, 1), np.uint8).repeat(3, axis=2)
    file = encode(Picture(InputFormat.WEBP, (Frame(noise),), grey=False), WEBP, 90)
    assert Image.open(io.BytesIO(file)).size == (5000, 5000)


def test_exif_that_is_damaged_or_too_long_does_not_fail_the_picture() -> None:
    image = Image.fromarray(samples(6, 8, 3))
    for damage in (b"MM\0*\0\0\0\x08\xff\xff", b"II*\0\xff\xff\xff\xff", b"nonsense", b"Exif\0\0MM"):
        assert encode(decode(file_of(image, exif=damage)), JPEG, None)
    exif = Image.Exif()
    exif[MAKE] = "x" * 70_000
    picture = decode(file_of(image, exif=exif))
    assert not Image.open(io.BytesIO(encode(picture, JPEG, None))).getexif()
    assert Image.open(io.BytesIO(encode(picture, PNG, None))).getexif()[MAKE] == "x" * 70_000


def test_transparency_for_colours_that_the_palette_lacks_is_no_crash() -> None:
    palette = Image.new("P", (4, 4))
    palette.putpalette([1, 2, 3])
    with contextlib.suppress(PictureDamagedError):
        assert decode(file_of(palette, transparency=bytes(300))).alpha is not None


@given(
    position=st.integers(0, 2000), value=st.integers(0, 255), name=st.sampled_from(["jpeg", "png", "webp"])
)
def test_damage_is_named_or_survived(position: int, value: int, name: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    content = bytearray(
        file_of(Image.fromarray(samples(20, 30, 3)), name, exif=exif, icc_profile=b"profile" * 9)
    )
    content[position % len(content)] = value
    try:
        picture = decode(bytes(content))
    except (PictureDamagedError, PictureUnsupportedError):
        return
    for output_format in PictureFormat:
        encode(picture, output_format, None)


@pytest.mark.parametrize("name", ["jpeg", "png", "webp"])
def test_a_cut_off_file_is_damaged(name: str) -> None:
    content = file_of(Image.fromarray(samples(64, 64, 3)), name)
    with pytest.raises(PictureDamagedError):
        decode(content[: len(content) * 2 // 3])


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a", b"not a picture", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"]
)
def test_what_is_no_picture_is_refused(content: bytes) -> None:
    with pytest.raises((PictureUnsupportedError, PictureDamagedError)):
        decode(content)


def test_formats_that_were_not_asked_for_stay_shut() -> None:
    for name in ("pcx", "sgi", "tga", "ico", "dds", "eps"):
        with pytest.raises(PictureUnsupportedError):
            decode(file_of(Image.new("RGB", (16, 16)), name))


def test_a_telephones_jpeg_with_a_preview_inside_is_its_first_picture() -> None:
    first, preview = Image.fromarray(samples(32, 48, 3)), Image.new("RGB", (8, 8))
    picture = decode(file_of(first, "mpo", save_all=True, append_images=[preview]))
    assert picture.format is InputFormat.JPEG
    assert picture.notes == (Note.GAIN_MAP_DROPPED,)
    assert picture.colour.shape == (32, 48, 3)


def test_a_bomb_is_an_error_not_a_crash() -> None:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    content = (
        b"\x89PNG\r\n\x1a\n"
        + header
        + png_chunk(b"IDAT", zlib.compress(bytes(1000)))
        + png_chunk(b"IEND", b"")
    )
    with pytest.raises(PictureDamagedError):
        decode(content)


@pytest.mark.parametrize(("output_format", "side_px"), [(JPEG, 65_501), (WEBP, 16_384)])
def test_a_result_too_long_for_its_format_is_said_so(output_format: PictureFormat, side_px: int) -> None:
    strip = np.zeros((1, side_px, 3), np.uint8)
    picture = Picture(InputFormat.PNG, (Frame(strip),), grey=False)
    with pytest.raises(PictureTooLargeError, match=str(side_px)):
        encode(picture, output_format, None)
    assert to_pillow(picture).size == (side_px, 1)
