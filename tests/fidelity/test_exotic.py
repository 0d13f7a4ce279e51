"""What is refused, clearly; and what gives its base picture, with a note."""

import io
from base64 import b85decode

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.fidelity.enlarging import Enlarge, file_of, opened, png_chunk
from tests.pictures import natural_picture
from worker.contract.jobs import Note, PictureFormat
from worker.errors import PictureDamagedError, PictureUnsupportedError


def test_apples_own_png(enlarge: Enlarge) -> None:
    png = file_of(natural_picture(8, 8))
    with pytest.raises(PictureUnsupportedError, match="CgBI"):
        enlarge(png[:8] + png_chunk(b"CgBI", b"P\0\x20\x02") + png[8:])


def test_a_jpeg_of_twelve_bits(enlarge: Enlarge) -> None:
    jpeg = bytearray(file_of(natural_picture(16, 16), "JPEG"))
    jpeg[jpeg.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(PictureUnsupportedError, match="12 bits"):
        enlarge(bytes(jpeg))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint32, np.int16])
def test_tiffs_of_science(enlarge: Enlarge, dtype: type) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, np.ones((6, 5), dtype), photometric="minisblack")
    with pytest.raises((PictureUnsupportedError, PictureDamagedError)):
        enlarge(file.getvalue())


def test_a_gain_map_is_dropped_with_a_note(enlarge: Enlarge) -> None:
    base, gains = natural_picture(32, 24), natural_picture(16, 12)
    result = enlarge(file_of(base, "MPO", save_all=True, append_images=[gains]))
    assert result.notes == (Note.GAIN_MAP_DROPPED,)
    assert result.output_format is PictureFormat.JPEG
    assert opened(result.content).size == (64, 48)


@pytest.mark.parametrize("name", ["BMP", "GIF", "PPM", "JPEG2000"])
def test_what_is_not_written_comes_back_as_png(enlarge: Enlarge, name: str) -> None:
    for mode in ("RGB", "L"):
        result = enlarge(file_of(natural_picture(16, 12).convert(mode), name))
        assert result.output_format is PictureFormat.PNG
        made = opened(result.content)
        assert (made.mode, made.size) == (mode, (32, 24))


def test_avif_comes_back_as_avif(enlarge: Enlarge) -> None:
    result = enlarge(file_of(natural_picture(16, 12), "AVIF", quality=95))
    assert opened(result.content).format == "AVIF"
    difference = np.asarray(opened(result.content).resize((16, 12), Image.Resampling.BOX)).astype(
        int
    ) - np.asarray(natural_picture(16, 12))
    assert np.abs(difference).mean() < 20


def test_heic_comes_back_as_jpeg(enlarge: Enlarge) -> None:
    heif = pytest.importorskip("pillow_heif")
    image = natural_picture(64, 48)
    file = io.BytesIO()
    heif.from_pillow(image).save(file, quality=95)
    result = enlarge(file.getvalue())
    assert result.output_format is PictureFormat.JPEG
    made = opened(result.content)
    assert made.size == (128, 96)
    difference = np.asarray(made.resize((64, 48), Image.Resampling.BOX)).astype(int) - np.asarray(image)
    assert np.abs(difference).mean() < 12


def test_jpegs_of_every_kind(enlarge: Enlarge) -> None:
    image = natural_picture(48, 32)
    for options in (
        {"progressive": True},
        {"subsampling": "4:4:4"},
        {"subsampling": "4:2:2"},
        {"restart_marker_rows": 1},
        {"keep_rgb": True},
    ):
        made = opened(enlarge(file_of(image, "JPEG", quality=95, **options), PictureFormat.PNG).content)
        difference = np.asarray(made.resize(image.size, Image.Resampling.BOX)).astype(int) - np.asarray(image)
        assert np.abs(difference).mean() < 15


def test_a_jpeg_of_arithmetic_coding(enlarge: Enlarge) -> None:
    """Made by `jpegtran -arithmetic` of a ramp from 17 to 239; Pillow writes none."""
    coded = (
        "|JeWF01!$>Nk#wx0RR9200961|JwjV00;&K2L=TQ2L}fU2?z=d6b%du3k(?&6Au&}8Xq1V8XO!TBrYc)A}k{u94I#_EHE)NG&CP4IXyTs"
        "JT5adGXKc{3kU!R00;pA5di<p00saM5C#9*00;pA002J#bjuFP0q+0V"
    )
    made = np.asarray(opened(enlarge(b85decode(coded), PictureFormat.PNG).content))
    assert made.shape == (16, 16)
    ramp = np.array([17, 47, 81, 112, 144, 175, 209, 239])
    assert np.abs(made[:, 0].reshape(8, 2).mean(axis=1) - ramp).max() <= 5


@pytest.mark.parametrize(
    "compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd", "group4"]
)
def test_tiffs_of_every_compression(enlarge: Enlarge, compression: str) -> None:
    image = natural_picture(48, 32).convert("1" if compression == "group4" else "RGB")
    content = file_of(image, "TIFF", compression=compression)
    made, plain = (
        np.asarray(opened(enlarge(each, PictureFormat.PNG).content)).astype(int)
        for each in (content, file_of(image))
    )
    assert np.abs(made - plain).mean() < (15 if compression == "jpeg" else 1e-9)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd", "packbits"])
@pytest.mark.parametrize("predictor", [False, True])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_tiffs_of_sixteen_bits_of_every_compression(
    enlarge: Enlarge, compression: str | None, predictor: bool, tile: tuple[int, int] | None
) -> None:
    samples = np.asarray(natural_picture(48, 32)).astype(np.uint16) * 211
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        samples,
        photometric="rgb",
        compression=compression,
        predictor=predictor and compression not in (None, "packbits"),
        tile=tile,
    )
    plain = io.BytesIO()
    tifffile.imwrite(plain, samples, photometric="rgb")
    assert enlarge(file.getvalue()).content == enlarge(plain.getvalue()).content


def test_ten_bits_become_eight_with_a_note(enlarge: Enlarge) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    samples = np.asarray(natural_picture(64, 48)).astype(np.uint16) * 257
    file = io.BytesIO()
    heif = pillow_heif.from_bytes("RGB;16", (64, 48), samples.tobytes())
    heif.save(file, quality=90)
    result = enlarge(file.getvalue(), PictureFormat.PNG)
    assert result.notes == (Note.REDUCED_TO_8_BITS,)
    assert opened(result.content).size == (128, 96)


def test_an_empty_file_is_said_to_be_empty(enlarge: Enlarge) -> None:
    with pytest.raises(PictureDamagedError, match="empty"):
        enlarge(b"")


def test_a_tiff_that_is_not_read_is_called_one(enlarge: Enlarge) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, np.asarray(natural_picture(32, 32)), photometric="rgb", compression="lerc")
    with pytest.raises(PictureUnsupportedError, match="TIFF"):
        enlarge(file.getvalue())
