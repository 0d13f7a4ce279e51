"""From a picture's file to its samples.

Pillow reads the files and what they say besides; what has 16 bits a sample, which Pillow would make 8 of, is read by libpng, OpenJPEG (imagecodecs)
and tifffile. All of it belongs into a decoder's process where the file is a stranger's: see `worker.decoder`.
"""

import io
import logging
import struct
import zlib
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
from PIL import (
    AvifImagePlugin,
    Image,
    ImageCms,
    ImageOps,
    ImageSequence,
    TiffImagePlugin,
    UnidentifiedImageError,
)

from sr_models.samples import StoredSamples
from worker.contract.jobs import InputFormat, Note
from worker.contract.reading import AS_IT_IS, Colorspace, Frames, Reading
from worker.deep_samples import deep_in_srgb, deep_samples, deep_tiff_pages, tiff_page_is_deep, with_channels
from worker.errors import JobError, PictureDamagedError, PictureUnsupportedError
from worker.metadata import iptc_of_resources, upright_exif, upright_xmp
from worker.picture import Frame, Picture
from worker.transparency import fill_hidden_colours

_FORMATS = {
    "PNG": InputFormat.PNG,
    "JPEG": InputFormat.JPEG,
    "MPO": InputFormat.JPEG,
    "WEBP": InputFormat.WEBP,
    "TIFF": InputFormat.TIFF,
    "AVIF": InputFormat.AVIF,
    "BMP": InputFormat.BMP,
    "GIF": InputFormat.GIF,
    "PPM": InputFormat.PPM,
    "JPEG2000": InputFormat.JP2,
    "HEIF": InputFormat.HEIC,
}
"""By Pillow's names. MPO is a JPEG with further pictures behind the first."""

_EXIF_ORIENTATION = 0x0112
_TIFF_IPTC, _TIFF_RESOURCES, _TIFF_XMP = 33723, 34377, 700
_CGBI = b"CgBI"
_HEIF_HEAD_BYTES = 1 << 16
_PNG = b"\x89PNG\r\n\x1a\n"
MAX_METADATA_BYTES = 16 << 20
"""Of XMP, IPTC and EXIF each. Nobody's is so long, and a worker holds it in memory."""

logger = logging.getLogger(__name__)

AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # a decoder's process may start none
# Grey and alpha of 16 bits, which Pillow does not know: it has to read what the file says besides, the samples are read by tifffile.
TiffImagePlugin.OPEN_INFO |= {
    (order, photometric, (1,), 1, (16, 16), (extra,)): ("LA", "LA")
    for order in (TiffImagePlugin.II, TiffImagePlugin.MM)
    for photometric in (0, 1)
    for extra in (0, 1, 2)
}


def load_readers() -> None:
    """Load every library that reading needs, while it can still be loaded."""
    Image.init()
    _register_heif()
    for codec in ("png", "jpeg2k", "cms", "zlib", "imcd", "zstd"):
        import_module(f"imagecodecs._{codec}")


def _register_heif() -> bool:
    if "HEIF" in Image.OPEN:
        return True
    try:
        heif = import_module("pillow_heif")
    except ImportError:
        return False
    heif.options.DECODE_THREADS = 1
    heif.register_heif_opener()
    return True


def decode(content: bytes, reading: Reading = AS_IT_IS) -> Picture:
    """Read a picture of any format in :class:`InputFormat`.

    Raises PictureDamagedError or PictureUnsupportedError. How many pixels are too many is the gateway's decision, from the header.
    """
    if not content:
        raise PictureDamagedError("The file is empty.")
    _refuse_what_pillow_would_misread(content)
    try:
        with Image.open(io.BytesIO(content), formats=_readable()) as opened:
            return _read(opened, content, reading)
    except JobError:
        raise
    except UnidentifiedImageError as error:
        known = content.startswith((b"II", b"MM"))
        raise PictureUnsupportedError(
            "The TIFF is of a kind that is not read: save it with LZW or deflate, or as PNG."
            if known
            else "The file is no picture of a format that is read, whatever its name says."
        ) from error
    # Pillow's readers meet damage with many kinds of exception, struct.error and AttributeError among them.
    except Exception as error:
        raise PictureDamagedError(f"The picture cannot be decoded: {error}") from error


def _readable() -> list[str]:
    """Pillow's names of what can be read here. A JPEG's reader makes an MPO of it by itself."""
    return [name for name in _FORMATS if name != "MPO" and (name != "HEIF" or name in Image.OPEN)]


def picture_from_pillow(image: Image.Image) -> Picture:
    """A picture that is already in memory, upright by its EXIF; PNG is its format unless it names one that is known."""
    return _one(image, _FORMATS.get(image.format or "PNG", InputFormat.PNG), AS_IT_IS)


def _refuse_what_pillow_would_misread(content: bytes) -> None:
    if content[12:16] == _CGBI:
        raise PictureUnsupportedError(
            "The PNG is one of Apple's for its own devices (CgBI): save it as a plain one."
        )
    if content.startswith(_PNG):
        _check_png_sums(content)
    if _is_heif(content) and not _register_heif():
        raise PictureUnsupportedError("HEIC is not read here: the workers lack the package pillow-heif.")
    if content[:2] == b"\xff\xd8" and _jpeg_precision(content) not in (8, None):
        raise PictureUnsupportedError(
            "The JPEG has 12 bits a sample, which is not supported: save it as PNG or TIFF."
        )


def _check_png_sums(content: bytes) -> None:
    """Raises PictureDamagedError where a chunk is not what was written; of the samples' Pillow does not look."""
    position, view = len(_PNG), memoryview(content)
    while position + 12 <= len(content):
        length = int.from_bytes(view[position : position + 4])
        end = position + 8 + length
        if end + 4 > len(content):
            return  # cut off, which the reader will say
        samples = content[position + 4 : position + 8] == b"IDAT"
        if samples and zlib.crc32(view[position + 4 : end]) != int.from_bytes(view[end : end + 4]):
            raise PictureDamagedError("The picture cannot be decoded: a checksum of the PNG is wrong.")
        position = end + 4


def _is_heif(content: bytes) -> bool:
    brands = {content[8:12], *(content[i : i + 4] for i in range(16, min(len(content), 64), 4))}
    return (
        content[4:8] == b"ftyp"
        and not brands & {b"avif", b"avis"}
        and bool(brands & {b"heic", b"heix", b"mif1", b"hevc", b"heim", b"heis"})
    )


def _bits_of_heif(content: bytes) -> int:
    """A sample, as the first description of pixels says (ISO/IEC 23008-12, 6.5.6); 8 where there is none."""
    start = content.find(b"pixi", 0, _HEIF_HEAD_BYTES)
    return content[start + 9] if 0 <= start < len(content) - 9 else 8


def _jpeg_precision(content: bytes) -> int | None:
    """Bits a sample by the frame's header; None where none is found."""
    position = 2
    while position + 9 < len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker in {0xFF, 0x01, *range(0xD0, 0xD8)}:
            position += 1 if marker == 0xFF else 2
        elif marker in {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}:
            return content[position + 4]
        else:
            position += 2 + int.from_bytes(content[position + 2 : position + 4])
    return None


def _read(opened: Image.Image, content: bytes, reading: Reading) -> Picture:
    file_format = _FORMATS[opened.format or ""]
    # A JPEG that carries a preview or a gain map besides its picture (most telephones' do) opens as "MPO", the picture
    # being the first frame. Elsewhere frames are an animation, or pages.
    inside = file_format in (InputFormat.JPEG, InputFormat.HEIC)
    frames = getattr(opened, "n_frames", 1)
    if frames == 1 or inside or reading.frames is Frames.FIRST:
        picture = _one(opened, file_format, reading, content)
        note = Note.GAIN_MAP_DROPPED if inside else Note.FIRST_FRAME_ONLY
        return picture.noting(note) if frames > 1 else picture
    if reading.frames is Frames.REFUSE:
        raise PictureUnsupportedError(
            f"The file holds {frames} frames or pages: send one, or ask for the first or for all (`frames`)."
        )
    return _all(opened, content, file_format, reading)


def _one(
    opened: Image.Image, file_format: InputFormat, reading: Reading, content: bytes | None = None
) -> Picture:
    """The picture, or the first of several."""
    if file_format is InputFormat.PNG:
        opened.load()  # what stands behind the samples belongs to it, and of damage there is nothing left to be found later
    picture = _described(opened, file_format)
    _forget_xmp(opened)
    if content and file_format in (InputFormat.AVIF, InputFormat.HEIC) and _bits_of_heif(content) > 8:
        picture = picture.noting(Note.REDUCED_TO_8_BITS)
    deep = None if content is None else deep_samples(opened, content, file_format)
    if deep is None:
        image = _upright(opened)
        return _of_shallow(_with_exif(picture, opened), [image], reading)
    upright = _turned(deep, _orientation(opened))
    return _of_deep(_with_exif(picture, opened), [upright], reading)


def _forget_xmp(image: Image.Image) -> None:
    """Pillow would turn the picture by XMP where EXIF says nothing. Hardly a program does, and the pixels may have been turned long ago."""
    for name in ("xmp", "XML:com.adobe.xmp"):
        image.info.pop(name, None)


def _described(opened: Image.Image, file_format: InputFormat) -> Picture:
    """What the file says besides the samples and EXIF."""
    picture = Picture(
        format=file_format,
        frames=(),
        grey=False,
        icc_profile=opened.info.get("icc_profile") or None,
        gamma=_gamma(opened) if file_format is InputFormat.PNG else None,
        xmp=_xmp(opened),
        iptc=_iptc(opened),
        dpi=_dpi(opened),
    )
    words = set(getattr(opened, "text", ())) - {"XML:com.adobe.xmp"} or opened.info.get("comment")
    return picture.noting(Note.METADATA_DROPPED) if words else picture


def _all(opened: Image.Image, content: bytes, file_format: InputFormat, reading: Reading) -> Picture:
    """An animation, or pages of one size."""
    loops = int(opened.info.get("loop", 1 if file_format is InputFormat.GIF else 0))
    picture = replace(_described(opened, file_format), loops=loops)
    _forget_xmp(opened)
    if file_format is InputFormat.TIFF and (pages := deep_tiff_pages(opened, content)):
        orientation = _orientation(opened)
        _check_alike({page.shape for page in pages})
        return _of_deep(_with_exif(picture, opened), [_turned(page, orientation) for page in pages], reading)
    images = []
    for frame in ImageSequence.Iterator(opened):
        if file_format is InputFormat.TIFF and tiff_page_is_deep(opened):
            raise PictureUnsupportedError("The pages have different depths: send them one by one.")
        images.append(_upright(frame.copy()))
    _check_alike({image.size for image in images})
    opened.seek(0)
    return _of_shallow(_with_exif(picture, opened), images, reading)


def _check_alike(sizes: set[Any]) -> None:
    if len(sizes) > 1:
        raise PictureUnsupportedError("The pages have different sizes or channels: send them one by one.")


def _of_shallow(picture: Picture, images: list[Image.Image], reading: Reading) -> Picture:
    """With the samples of Pillow's pictures, of 8 bits or 16 grey ones."""
    images, converted = _converted(images, picture.icc_profile, reading)
    modes = {image.mode for image in images}
    if len(modes) > 1:
        common = "RGBA" if any("A" in mode for mode in modes) else "RGB"
        images = [image.convert(common) for image in images]
    if converted:
        picture = replace(picture, icc_profile=None).noting(Note.CONVERTED_TO_SRGB)
    frames = tuple(
        _frame(with_channels(np.asarray(image)), int(image.info.get("duration", 0))) for image in images
    )
    mode = images[0].mode
    return replace(picture, frames=frames, grey=mode in ("L", "LA") or mode.startswith("I"))


def _converted(
    images: list[Image.Image], profile: bytes | None, reading: Reading
) -> tuple[list[Image.Image], bool]:
    """As L, LA, RGB, RGBA or I;16; and whether the colours are sRGB's now because they had to be converted, or were to be."""
    plain = [_plain(image) for image in images]
    kind = plain[0].mode
    if kind in ("CMYK", "LAB", "YCbCr", "HSV"):
        return [_in_srgb(image, profile) for image in plain], True
    if any(image.mode not in ("L", "LA", "RGB", "RGBA", "I;16") for image in plain):
        raise PictureUnsupportedError(f"Pixels of the kind {images[0].mode!r} are not supported.")
    if reading.colorspace is Colorspace.SRGB and profile and kind != "I;16":
        return [_in_srgb(image, profile) for image in plain], True
    return plain, False


def _plain(image: Image.Image) -> Image.Image:
    """Without palettes and transparent colours."""
    if image.mode.startswith("I;16"):
        return image if image.mode == "I;16" else image.convert("I").convert("I;16")
    if image.mode == "I":
        samples = np.asarray(image)
        if samples.min() < 0 or samples.max() > 65_535:
            raise PictureUnsupportedError("Samples of 32 bits are not supported: 8 or 16 are.")
        return Image.fromarray(samples.astype(np.uint16))
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("PA", "La", "RGBa"):
        return image.convert("LA" if image.mode == "La" else "RGBA")
    if image.mode == "RGBX":
        return image.convert("RGB")
    if image.mode == "P" or (image.mode in ("L", "RGB") and "transparency" in image.info):
        plain = image.convert("RGBA" if "transparency" in image.info else "RGB")
        grey = image.mode == "L" or (image.mode == "P" and _is_grey_palette(image))
        return plain.convert("LA" if plain.mode == "RGBA" else "L") if grey else plain
    return image


def _is_grey_palette(image: Image.Image) -> bool:
    """Whether a GIF or BMP has a palette only because its format has nothing else for grey."""
    palette = np.array(image.getpalette() or [], np.uint8).reshape(-1, 3)
    if image.format not in (None, "GIF", "BMP") or not len(palette):
        return False
    used = palette[np.unique(np.asarray(image)).clip(0, len(palette) - 1)]
    return bool((used == used[:, :1]).all())


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Converted by its profile; without one, or with a damaged one, by the plain formulas."""
    alpha = image.getchannel("A") if "A" in image.mode and image.mode != "LAB" else None
    opaque = image.convert(image.mode.removesuffix("A")) if alpha else image
    try:
        source: Any
        if image.mode == "LAB":
            source = ImageCms.createProfile("LAB")
        elif profile:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        else:
            raise ImageCms.PyCMSError("no profile")
        converted = ImageCms.profileToProfile(
            opaque,
            source,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        assert converted is not None
    except (ImageCms.PyCMSError, ValueError, OSError) as error:
        if image.mode not in ("CMYK", "YCbCr", "HSV"):
            raise PictureDamagedError(f"The colour profile cannot be used: {error}") from error
        converted = opaque.convert("RGB")
    if opaque.mode == "L":
        converted = converted.getchannel("G")
    if alpha:
        converted.putalpha(alpha)
    converted.info = {name: value for name, value in image.info.items() if name != "icc_profile"}
    return converted


def _frame(samples_HWC: StoredSamples, duration_ms: int = 0) -> Frame:
    """Of grey, grey and alpha, RGB or RGBA."""
    channels = samples_HWC.shape[2]
    if channels == 3:
        return Frame(np.ascontiguousarray(samples_HWC), None, duration_ms)
    if channels == 1:
        return Frame(samples_HWC.repeat(3, axis=2), None, duration_ms)
    alpha = samples_HWC[..., -1]
    # A copy, which is then changed.
    colour = samples_HWC[..., :3].copy() if channels == 4 else samples_HWC[..., :1].repeat(3, axis=2)
    fill_hidden_colours(colour, alpha)
    return Frame(colour, np.stack([alpha] * 3, axis=-1), duration_ms)


def _of_deep(picture: Picture, pages: list[StoredSamples], reading: Reading) -> Picture:
    """With samples of 16 bits, (H, W, C) each."""
    if reading.colorspace is Colorspace.SRGB and picture.icc_profile:
        pages = [deep_in_srgb(page, picture.icc_profile) for page in pages]
        picture = replace(picture, icc_profile=None).noting(Note.CONVERTED_TO_SRGB)
    return replace(picture, frames=tuple(map(_frame, pages)), grey=pages[0].shape[2] < 3)


def _upright(image: Image.Image) -> Image.Image:
    """The picture turned as its EXIF says; damaged EXIF says nothing."""
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception as error:
        logger.info("EXIF that cannot be read is left out: %r", error)
        return image


def _with_exif(picture: Picture, image: Image.Image) -> Picture:
    """With the file's EXIF, but for the orientation; damaged EXIF is left out."""
    try:
        exif = upright_exif(image.getexif(), is_tiff=picture.format is InputFormat.TIFF)
    except Exception as error:
        logger.info("EXIF that cannot be read is left out: %r", error)
        return picture.noting(Note.METADATA_DROPPED)
    if exif and len(exif) > MAX_METADATA_BYTES:
        return picture.noting(Note.METADATA_DROPPED)
    return replace(picture, exif=exif)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # Pillow's reader of EXIF meets damage with many kinds
        return 1


def _turned(samples_HWC: StoredSamples, orientation: int) -> StoredSamples:
    """As :func:`_upright` does with Pillow's pictures."""
    if orientation in (5, 6, 7, 8):
        samples_HWC = samples_HWC.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        samples_HWC = samples_HWC[::-1]
    if orientation in (2, 3, 6, 7):
        samples_HWC = samples_HWC[:, ::-1]
    return np.ascontiguousarray(samples_HWC)


def _gamma(image: Image.Image) -> float | None:
    gamma = image.info.get("gamma")
    return float(gamma) if gamma and "icc_profile" not in image.info and "srgb" not in image.info else None


def _xmp(image: Image.Image) -> bytes | None:
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if not xmp and hasattr(image, "tag_v2"):
        xmp = image.tag_v2.get(_TIFF_XMP)
    if isinstance(xmp, str):
        xmp = xmp.encode()
    return upright_xmp(xmp) if isinstance(xmp, bytes) and 0 < len(xmp) <= MAX_METADATA_BYTES else None


def _iptc(image: Image.Image) -> bytes | None:
    found: Any = None
    if hasattr(image, "tag_v2"):
        found = image.tag_v2.get(_TIFF_IPTC)
        if resources := (not found and image.tag_v2.get(_TIFF_RESOURCES)):
            found = iptc_of_resources(bytes(resources))
    elif image.info.get("photoshop"):
        found = image.info["photoshop"].get(0x0404)
    if isinstance(found, tuple):  # a TIFF may hold it as 32-bit numbers
        found = struct.pack(f"<{len(found)}I", *found)
    return found if isinstance(found, bytes) and 0 < len(found) <= MAX_METADATA_BYTES else None


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    try:
        across, down = (float(value) for value in image.info.get("dpi", ()))
    except (TypeError, ValueError):
        return None
    return (across, down) if 1 <= across < 1e6 and 1 <= down < 1e6 else None
