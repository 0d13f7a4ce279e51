"""Pictures as files and as samples: what is kept of one besides its pixels, and how it is written.

A picture is a list of planes that a network can enlarge: the colour plane, and the alpha plane
as a grey picture of its own. Grey pictures have R = G = B in their colour plane.
"""

import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from worker import png, tiff
from worker.contract.jobs import READ_FORMATS, PictureFormat
from worker.errors import (
    EncodingFailedError,
    JobError,
    PictureDamagedError,
    PictureTooLargeError,
    PictureUnsupportedError,
)

UInt8Array = npt.NDArray[np.uint8]

DEFAULT_QUALITY = 92
"""For JPEG and WebP, where the client asks for none: no visible loss on photographs."""

DEFAULT_AVIF_QUALITY = 80
"""AVIF's scale is another: on an enlarged photograph of 4 megapixels 46.6 dB in a third of the bytes that JPEG takes at 92 for 49.5."""

AVIF_SPEED = 9
"""libaom's, of 0 to 10. 43 ms a megapixel, against 103 at 8 and 271 at 6, which is a sixth smaller."""

WEBP_METHODS = (0, 2, 4)
"""libwebp's effort. A photograph of a megapixel took 29 ms at 0 and 98 ms at Pillow's default 4, which is a tenth smaller and slightly worse.

What it knows of a picture's blocks must fit into 512 KB. At 0 it does not look, and fails on a few very large pictures with much fine
detail (its error 6): those are tried again with more effort, of which 4 makes it fit.
"""

# libjpeg stops at 65,500 although the format could hold 65,535.
_SIDE_LIMIT_PX = {PictureFormat.JPEG: 65_500, PictureFormat.WEBP: 16_383, PictureFormat.AVIF: 65_536}
_FULL_CHROMA_FROM_QUALITY = 90
_EXIF_ORIENTATION = 0x0112
_JPEG_EXIF_BYTES = 65_500
"""A JPEG's EXIF has to fit into one segment; longer EXIF, which PNG and WebP allow, is left out."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Picture:
    """A decoded picture: upright, 8 bits a sample."""

    format: PictureFormat
    """What it was read from."""
    colour: UInt8Array
    """RGB samples, uint8 (H, W, 3)."""
    alpha: UInt8Array | None
    """Opacity as grey RGB samples, uint8 (H, W, 3); None for an opaque picture."""
    grey: bool
    """Whether the picture has one colour channel."""
    icc_profile: bytes | None
    """The colour profile, byte for byte."""
    exif: bytes | None
    """EXIF without its orientation, which is applied to the pixels."""

    @property
    def planes(self) -> list[UInt8Array]:
        """What is to be enlarged."""
        return [self.colour] if self.alpha is None else [self.colour, self.alpha]

    def with_planes(self, planes: Sequence[npt.NDArray[Any]]) -> "Picture":
        """The same picture with other samples, in the order of :attr:`planes`."""
        return replace(self, colour=planes[0], alpha=planes[1] if len(planes) > 1 else None)


def decode(content: bytes) -> Picture:
    """Read a JPEG, PNG or WebP.

    Raises PictureDamagedError or PictureUnsupportedError. How many pixels are too many is the
    gateway's decision, from the header.
    """
    try:
        with Image.open(io.BytesIO(content), formats=[f.value for f in READ_FORMATS]) as opened:
            # A JPEG that carries a preview or a gain map besides its picture (most telephones' do) opens
            # as "MPO", the picture being the first frame. In PNG and WebP frames are an animation.
            is_jpeg = opened.format in ("JPEG", "MPO")
            file_format = PictureFormat.JPEG if is_jpeg else PictureFormat((opened.format or "").lower())
            if not is_jpeg and getattr(opened, "n_frames", 1) > 1:
                raise PictureUnsupportedError("The picture is animated: send one frame.")
            opened.load()
            return _picture_of(opened, file_format)
    except JobError:
        raise
    except UnidentifiedImageError as error:
        raise PictureUnsupportedError from error
    # Pillow's readers meet damage with many kinds of exception, struct.error and AttributeError among them.
    except Exception as error:
        raise PictureDamagedError(f"The picture cannot be decoded: {error}") from error


def picture_from_pillow(image: Image.Image) -> Picture:
    """A picture that is already in memory, upright by its EXIF; PNG is its format unless it names one that is known."""
    known = {f.value for f in READ_FORMATS}
    name = (image.format or "png").lower()
    return _picture_of(image, PictureFormat(name if name in known else "png"))


def _upright(image: Image.Image) -> tuple[Image.Image, bytes | None]:
    """The picture turned as its EXIF says, and its EXIF without that; damaged EXIF is left out."""
    try:
        upright = ImageOps.exif_transpose(image)
        exif = upright.getexif()
        exif.pop(_EXIF_ORIENTATION, None)
        return upright, exif.tobytes() if exif else None
    except Exception as error:
        logger.info("EXIF that cannot be read is left out: %r", error)
        return image, None


def _picture_of(stored: Image.Image, file_format: PictureFormat) -> Picture:
    image, exif = _upright(stored)
    profile = image.info.get("icc_profile")
    if image.mode in ("CMYK", "LAB", "YCbCr", "HSV"):
        # The profile describes the space that the samples leave here.
        image, profile = image.convert("RGB"), None
    elif image.mode.startswith("I;16") or image.mode == "I":
        image = Image.fromarray(
            (np.asarray(image).astype(np.float32) / 257.0).round().clip(0, 255).astype(np.uint8)
        )
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode == "P" or (image.mode in ("L", "RGB") and "transparency" in image.info):
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        raise PictureUnsupportedError(f"Pixels of the kind {image.mode!r} are not supported.")
    colour, alpha = _planes(image)
    return Picture(
        format=file_format,
        colour=colour,
        alpha=alpha,
        grey=image.mode in ("L", "LA"),
        icc_profile=profile,
        exif=exif,
    )


def _planes(image: Image.Image) -> tuple[UInt8Array, UInt8Array | None]:
    """Colour and alpha of an L, LA, RGB or RGBA picture, as Picture has them."""
    if (
        image.mode == "RGB"
    ):  # band by band would take three times as long: 2.2 ms a megapixel, a JPEG's decoding 3.8
        return np.asarray(image), None
    bands = [np.asarray(band) for band in image.split()]
    alpha = bands.pop() if len(bands) in (2, 4) else None
    colour = np.stack(bands * 3 if len(bands) == 1 else bands, axis=-1)
    return colour, None if alpha is None else np.stack([alpha] * 3, axis=-1)


def to_pillow(picture: Picture) -> Image.Image:
    """The picture as Pillow has it: mode L, LA, RGB or RGBA."""
    colour = Image.fromarray(picture.colour[..., 0] if picture.grey else picture.colour)
    if picture.alpha is not None:
        colour.putalpha(Image.fromarray(np.ascontiguousarray(picture.alpha[..., 0])))
    return colour


def encode(picture: Picture, output_format: PictureFormat, quality: int | None) -> bytes:
    """Write the picture; the same picture and options give the same bytes.

    JPEG has no transparency: the picture is then composed on white. Raises PictureTooLargeError
    where the format cannot hold a picture of that size, EncodingFailedError where the encoder gives up.
    """
    height, width = picture.colour.shape[:2]
    limit_px = _SIDE_LIMIT_PX.get(output_format)
    if limit_px is not None and max(height, width) > limit_px:
        raise PictureTooLargeError(
            f"The result has {width}x{height} pixels; {output_format.value.upper()} holds {limit_px} a side. "
            "Choose PNG or a smaller scale."
        )
    try:
        if output_format is PictureFormat.PNG:
            return png.encode(_bands(picture), picture.icc_profile, picture.exif)
        if output_format is PictureFormat.TIFF:
            return tiff.encode(np.concatenate(_bands(picture), axis=2), picture.icc_profile, picture.exif)
        if quality is None:
            quality = DEFAULT_AVIF_QUALITY if output_format is PictureFormat.AVIF else DEFAULT_QUALITY
        return _encode_by_pillow(picture, output_format, quality)
    except (OSError, ValueError, SyntaxError, MemoryError) as error:
        raise EncodingFailedError(f"The result cannot be written as {output_format}: {error}") from error


def _bands(picture: Picture) -> list[UInt8Array]:
    """The picture's channels as `worker.png` takes them: views, no copies."""
    colour = picture.colour[..., :1] if picture.grey else picture.colour
    return [colour] if picture.alpha is None else [colour, picture.alpha[..., :1]]


def _encode_by_pillow(picture: Picture, output_format: PictureFormat, quality: int) -> bytes:
    image = to_pillow(picture)
    options: dict[str, object] = {"icc_profile": picture.icc_profile, "quality": quality}
    if output_format is PictureFormat.JPEG:
        image = _on_white(image)
        options["subsampling"] = "4:4:4" if quality >= _FULL_CHROMA_FROM_QUALITY else "4:2:0"
    if picture.exif and (output_format is not PictureFormat.JPEG or len(picture.exif) <= _JPEG_EXIF_BYTES):
        options["exif"] = picture.exif
    if output_format is PictureFormat.AVIF:
        # One thread: other pictures are encoded beside it.
        options |= {"speed": AVIF_SPEED, "max_threads": 1}
        options["subsampling"] = "4:4:4" if quality >= _FULL_CHROMA_FROM_QUALITY else "4:2:0"
    if output_format is PictureFormat.WEBP:
        return _webp(image, options)
    return _saved(image, output_format, options)


def _webp(image: Image.Image, options: dict[str, object]) -> bytes:
    for method in WEBP_METHODS[:-1]:
        try:
            return _saved(image, PictureFormat.WEBP, options | {"method": method})
        except ValueError as error:
            logger.info("with more effort, since at %d: %s", method, error)
    return _saved(image, PictureFormat.WEBP, options | {"method": WEBP_METHODS[-1]})


def _saved(image: Image.Image, output_format: PictureFormat, options: dict[str, object]) -> bytes:
    file = io.BytesIO()
    image.save(file, format=output_format.value, **options)
    return file.getvalue()


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode not in ("LA", "RGBA"):
        return image
    opaque = image.mode.removesuffix("A")
    ground = Image.new(opaque, image.size, "white")
    ground.paste(image.convert(opaque), mask=image.getchannel("A"))
    return ground
