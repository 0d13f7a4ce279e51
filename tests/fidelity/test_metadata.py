"""What a file says besides its pixels: upright, of the new size, or gone."""

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, IptcImagePlugin
from PIL.PngImagePlugin import PngInfo

from tests.fidelity.enlarging import Enlarge, file_of, opened
from tests.pictures import natural_picture
from worker.contract.finish import Finish, Metadata
from worker.contract.jobs import Note, PictureFormat
from worker.metadata import resources_of_iptc

TAGS = ExifTags.Base
STRIPPED = Finish(metadata=Metadata.STRIP)
XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 tiff:Orientation="6" tiff:ImageWidth="30" exif:PixelYDimension='20'><dc:rights>Somebody's</dc:rights><tiff:ImageLength>20</tiff:ImageLength>
</rdf:Description></rdf:RDF></x:xmpmeta>"""
IPTC = b"\x1c\x02\x50\x00\x05Maker\x1c\x02\x78\x00\x07A house"


def exif(orientation: int = 1) -> Image.Exif:
    made = Image.Exif()
    made[TAGS.Orientation] = orientation
    made[TAGS.Make] = "a maker"
    made[TAGS.ImageWidth], made[TAGS.ImageLength] = 30, 20
    made[TAGS.XResolution], made[TAGS.YResolution], made[TAGS.ResolutionUnit] = 72.0, 72.0, 2
    details = made.get_ifd(ExifTags.IFD.Exif)
    details[TAGS.ExifImageWidth], details[TAGS.ExifImageHeight] = 30, 20
    details[TAGS.DateTimeOriginal] = "2026:01:02 03:04:05"
    place = made.get_ifd(ExifTags.IFD.GPSInfo)
    place[ExifTags.GPS.GPSLatitudeRef] = "N"
    place[ExifTags.GPS.GPSLatitude] = (48.0, 12.0, 30.0)
    return made


@pytest.mark.parametrize("output_format", list(PictureFormat))
@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_picture_stands_upright_and_exif_says_its_size(
    enlarge: Enlarge, name: str, output_format: PictureFormat, orientation: int
) -> None:
    image = natural_picture(30, 20, 4)
    result = enlarge(file_of(image, name, exif=exif(orientation)), output_format, quality=95)
    size_px = (40, 60) if orientation > 4 else (60, 40)
    made = opened(result.content)
    assert made.size == size_px == (result.width_px, result.height_px)
    upright = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
    }  # fmt: skip
    expected = image.transpose(upright[orientation]) if orientation in upright else image
    smaller = made.convert("RGB").resize(expected.size, Image.Resampling.BOX)
    assert (
        np.abs(np.asarray(smaller).astype(int) - np.asarray(expected)).mean() < 25
    )  # 60 and more where it stands otherwise
    said = made.getexif()
    assert said.get(TAGS.Orientation, 1) == 1
    assert said[TAGS.Make] == "a maker"
    assert (said[TAGS.ImageWidth], said[TAGS.ImageLength]) == size_px
    assert float(said[TAGS.XResolution]) == 144
    details = said.get_ifd(ExifTags.IFD.Exif)
    assert (details[TAGS.ExifImageWidth], details[TAGS.ExifImageHeight]) == size_px
    assert details[TAGS.DateTimeOriginal] == "2026:01:02 03:04:05"
    assert said.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] == "N"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("depth", [8, 16])
def test_tiffs_and_pictures_of_sixteen_bits_stand_upright(
    enlarge: Enlarge, orientation: int, depth: int
) -> None:
    samples = np.asarray(natural_picture(30, 20, 4))
    deep = samples.astype(np.uint16) * 257 if depth == 16 else samples
    file = io.BytesIO()
    tifffile.imwrite(file, deep, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    turned = opened(enlarge(file_of(natural_picture(30, 20, 4), exif=exif(orientation))).content)
    result = enlarge(file.getvalue(), PictureFormat.PNG)
    shallow = opened(result.content)
    assert shallow.size == turned.size
    assert np.abs(np.asarray(shallow).astype(int) - np.asarray(turned)).max() <= 1


@pytest.mark.parametrize("output_format", list(PictureFormat))
@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_xmp_is_kept_with_what_has_changed(enlarge: Enlarge, name: str, output_format: PictureFormat) -> None:
    options: dict[str, Any] = (
        {"exif": exif(), "xmp": XMP} if name != "PNG" else {"exif": exif(), "pnginfo": png_text()}
    )
    if name == "TIFF":
        options = {"tiffinfo": {700: XMP}}
    content = file_of(natural_picture(30, 20), name, **options)
    image = opened(enlarge(content, output_format).content)
    kept = (
        image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or getattr(image, "tag_v2", {}).get(700)
    )
    kept = kept.encode() if isinstance(kept, str) else kept
    for part in (
        b'tiff:Orientation="1"',
        b'tiff:ImageWidth="60"',
        b"exif:PixelYDimension='40'",
        b"<tiff:ImageLength>40<",
        b"Somebody's",
    ):
        assert part in (kept or b"")
    stripped = enlarge(content, output_format, finish=STRIPPED).content
    assert b"Somebody" not in stripped
    assert b"a maker" not in stripped


def png_text() -> PngInfo:
    text = PngInfo()
    text.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return text


@pytest.mark.parametrize("name", ["JPEG", "TIFF"])
@pytest.mark.parametrize("output_format", [PictureFormat.JPEG, PictureFormat.TIFF])
def test_iptc_is_kept(enlarge: Enlarge, name: str, output_format: PictureFormat) -> None:
    resources = resources_of_iptc(IPTC)
    segment = b"\xff\xed" + (len(resources) + 2).to_bytes(2) + resources
    content = file_of(
        natural_picture(30, 20),
        name,
        **({"extra": segment} if name == "JPEG" else {"tiffinfo": {33723: IPTC}}),
    )
    result = enlarge(content, output_format)
    assert IptcImagePlugin.getiptcinfo(Image.open(io.BytesIO(result.content))) == {
        (2, 80): b"Maker",
        (2, 120): b"A house",
    }
    assert result.notes == ()
    assert b"A house" not in enlarge(content, output_format, finish=STRIPPED).content
    assert enlarge(content, PictureFormat.PNG).notes == (Note.METADATA_DROPPED,)
    assert enlarge(content, PictureFormat.PNG, finish=STRIPPED).notes == ()


@pytest.mark.parametrize("output_format", [PictureFormat.PNG, PictureFormat.JPEG, PictureFormat.TIFF])
@pytest.mark.parametrize("name", ["PNG", "JPEG", "TIFF", "BMP"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_its_size_on_paper_stays(
    enlarge: Enlarge, name: str, output_format: PictureFormat, scale: int
) -> None:
    image = natural_picture(30, 20)
    result = enlarge(file_of(image, name, dpi=(300, 300)), output_format, scale=scale)
    dpi = opened(result.content).info["dpi"]
    assert dpi == pytest.approx((300 * scale, 300 * scale), abs=2)
    reduced = enlarge(
        file_of(image, name, dpi=(300, 300)), output_format, scale=scale, finish=Finish(width_px=45)
    )
    assert opened(reduced.content).info["dpi"] == pytest.approx((450, 450), abs=2)


def test_deep_pictures_keep_what_they_say(enlarge: Enlarge) -> None:
    samples = np.asarray(natural_picture(30, 20)).astype(np.uint16) * 257
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        samples,
        photometric="rgb",
        resolution=(300, 300),
        resolutionunit=2,
        description="A house",
        extratags=[(700, "B", len(XMP), XMP, True)],
    )
    result = enlarge(file.getvalue()).content
    with tifffile.TiffFile(io.BytesIO(result)) as made:
        tags = made.pages[0].tags  # type: ignore[union-attr]
        assert tags["ImageDescription"].value == "A house"
        assert tags["XResolution"].value[0] / tags["XResolution"].value[1] == 600
        assert b'tiff:ImageWidth="60"' in tags["XMP"].value


def test_what_programs_wrote_of_the_samples_is_not_kept(enlarge: Enlarge) -> None:
    """Else they would look for the samples where they were."""
    file = io.BytesIO()
    tifffile.imwrite(file, np.asarray(natural_picture(30, 20)), photometric="rgb", metadata={"axes": "YXS"})
    assert b'{"shape"' in file.getvalue()
    result = enlarge(file.getvalue()).content
    assert b'{"shape"' not in result
    assert tifffile.imread(io.BytesIO(result)).shape == (40, 60, 3)


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("output_format", list(PictureFormat))
def test_nothing_is_left_where_it_is_to_be_stripped(
    enlarge: Enlarge, name: str, output_format: PictureFormat
) -> None:
    made = opened(
        enlarge(file_of(natural_picture(30, 20), name, exif=exif(6)), output_format, finish=STRIPPED).content
    )
    said = made.getexif()
    assert TAGS.Make not in said
    assert not said.get_ifd(ExifTags.IFD.GPSInfo)
    assert not said.get_ifd(ExifTags.IFD.Exif)


def test_what_has_no_place_is_said(enlarge: Enlarge) -> None:
    words = PngInfo()
    words.add_text("Title", "A house")
    for content in (
        file_of(natural_picture(9, 9), pnginfo=words),
        file_of(natural_picture(9, 9), "JPEG", comment=b"A house"),
    ):
        assert enlarge(content).notes == (Note.METADATA_DROPPED,)
        assert enlarge(content, finish=STRIPPED).notes == ()


@pytest.mark.parametrize("name", ["PNG", "JPEG", "TIFF"])
def test_the_resolution_is_of_the_new_size_without_metadata_too(enlarge: Enlarge, name: str) -> None:
    result = enlarge(file_of(natural_picture(30, 20), name, dpi=(300, 300)), finish=STRIPPED)
    assert opened(result.content).info["dpi"] == pytest.approx((600, 600), abs=1)
