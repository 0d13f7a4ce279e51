"""From samples to a file: the same picture and options give the same bytes."""

import io
import logging
from dataclasses import replace

import numpy as np
from PIL import Image

from sr_models.samples import StoredSamples
from worker import png, tiff
from worker.contract.finish import UNCHANGED, Finish
from worker.contract.jobs import InputFormat, Note, PictureFormat
from worker.errors import EncodingFailedError, PictureTooLargeError, PictureUnsupportedError
from worker.metadata import resources_of_iptc
from worker.picture import Frame, Picture, in_8_bits

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
_JPEG_SEGMENT_BYTES = 65_500
"""EXIF, XMP and IPTC have to fit into one segment of a JPEG each; what is longer, which other formats allow, is left out."""
_STRIP_ROWS = 256

logger = logging.getLogger(__name__)


def fitted(picture: Picture, output_format: PictureFormat, finish: Finish = UNCHANGED) -> Picture:
    """The picture as the format can hold it, with a note of what that costs."""
    if output_format is PictureFormat.JPEG:
        if len(picture.frames) > 1:
            picture = replace(picture, frames=picture.frames[:1]).noting(Note.FIRST_FRAME_ONLY)
        if picture.alpha is not None:
            picture = _flattened(picture, finish.background).noting(Note.TRANSPARENCY_FLATTENED)
    if len(picture.frames) > 1:
        picture = _several_fitted(picture, output_format)
    deep = output_format is PictureFormat.TIFF or (
        output_format is PictureFormat.PNG and len(picture.frames) == 1
    )
    if picture.colour.dtype != np.uint8 and not deep:
        shallow = picture.with_planes([in_8_bits(plane) for plane in picture.planes])
        picture = shallow.noting(Note.REDUCED_TO_8_BITS)
    return _with_metadata_for(picture, output_format)


def _several_fitted(picture: Picture, output_format: PictureFormat) -> Picture:
    """Pages stay pages; an animation's times go where the format has no place for them."""
    if picture.format is InputFormat.TIFF and output_format is not PictureFormat.TIFF:
        raise PictureUnsupportedError(
            f"Only a TIFF holds pages, and {output_format} was asked for: choose tiff, or the first page alone."
        )
    times = any(frame.duration_ms for frame in picture.frames)
    lost = (
        times
        if output_format is PictureFormat.TIFF
        else picture.loops and output_format is PictureFormat.AVIF
    )
    return picture.noting(Note.TIMING_DROPPED) if lost else picture


def _with_metadata_for(picture: Picture, output_format: PictureFormat) -> Picture:
    kept = replace(
        picture, iptc=picture.iptc if output_format in (PictureFormat.JPEG, PictureFormat.TIFF) else None
    )
    if output_format is PictureFormat.JPEG:
        kept = replace(kept, exif=_short(kept.exif), xmp=_short(kept.xmp), iptc=_short(kept.iptc))
    lost = (kept.exif, kept.xmp, kept.iptc) != (picture.exif, picture.xmp, picture.iptc)
    return kept.noting(Note.METADATA_DROPPED) if lost else kept


def _short(content: bytes | None) -> bytes | None:
    return content if content and len(content) <= _JPEG_SEGMENT_BYTES else None


def _flattened(picture: Picture, background: str) -> Picture:
    """Composed on a colour; a grey picture becomes one of colours where that is no grey."""
    ground = np.array([int(background[i : i + 2], 16) for i in (1, 3, 5)], np.uint32)
    colour, alpha = picture.colour, picture.alpha
    assert alpha is not None
    most = np.iinfo(colour.dtype).max
    ground = ground * (most // 255)
    composed = np.empty_like(colour)
    for top in range(0, colour.shape[0], _STRIP_ROWS):
        rows = slice(top, top + _STRIP_ROWS)
        share = alpha[rows].astype(np.uint32)
        composed[rows] = (colour[rows] * share + ground * (most - share) + most // 2) // most
    grey = picture.grey and len(set(ground.tolist())) == 1
    return replace(picture, frames=(Frame(composed),), grey=grey)


def to_pillow(picture: Picture, frame: int = 0) -> Image.Image:
    """A frame of 8 bits as Pillow has it: mode L, LA, RGB or RGBA."""
    samples = picture.frames[frame]
    colour = Image.fromarray(samples.colour[..., 0] if picture.grey else samples.colour)
    if samples.alpha is not None:
        colour.putalpha(Image.fromarray(np.ascontiguousarray(samples.alpha[..., 0])))
    return colour


def encode(
    picture: Picture, output_format: PictureFormat, quality: int | None, finish: Finish = UNCHANGED
) -> bytes:
    """Write the picture, as :func:`fitted` makes it.

    Raises PictureTooLargeError where the format cannot hold a picture of that size, PictureUnsupportedError where it cannot hold pages, EncodingFailedError where the encoder gives up.
    """
    picture = fitted(picture, output_format, finish)
    width, height = picture.size_px
    limit_px = _SIDE_LIMIT_PX.get(output_format)
    if limit_px is not None and max(height, width) > limit_px:
        raise PictureTooLargeError(
            f"The result has {width}x{height} pixels; {output_format.value.upper()} holds {limit_px} a side. "
            "Choose PNG or a smaller scale."
        )
    try:
        if output_format is PictureFormat.TIFF:
            pages = [np.concatenate(_bands(picture, frame), axis=2) for frame in picture.frames]
            return tiff.encode(pages, picture)
        if output_format is PictureFormat.PNG and len(picture.frames) == 1:
            return png.encode(_bands(picture, picture.frames[0]), picture)
        if quality is None:
            quality = DEFAULT_AVIF_QUALITY if output_format is PictureFormat.AVIF else DEFAULT_QUALITY
        return _encode_by_pillow(picture, output_format, quality, finish)
    except (OSError, ValueError, SyntaxError, MemoryError) as error:
        raise EncodingFailedError(f"The result cannot be written as {output_format}: {error}") from error


def _bands(picture: Picture, frame: Frame) -> list[StoredSamples]:
    """A frame's channels as `worker.png` takes them: views, no copies."""
    colour = frame.colour[..., :1] if picture.grey else frame.colour
    return [colour] if frame.alpha is None else [colour, frame.alpha[..., :1]]


def _encode_by_pillow(picture: Picture, output_format: PictureFormat, quality: int, finish: Finish) -> bytes:
    image = to_pillow(picture)
    options: dict[str, object] = {"icc_profile": picture.icc_profile}
    if output_format is not PictureFormat.PNG:
        options["quality"] = quality
    if picture.exif:
        options["exif"] = picture.exif
    if picture.xmp and output_format is not PictureFormat.PNG:
        options["xmp"] = picture.xmp
    if output_format in (PictureFormat.JPEG, PictureFormat.AVIF):
        options["subsampling"] = "4:4:4" if quality >= _FULL_CHROMA_FROM_QUALITY else "4:2:0"
    if output_format is PictureFormat.JPEG:
        options |= {"progressive": finish.progressive} if finish.progressive else {}
        if picture.dpi:
            options["dpi"] = tuple(min(round(value), 65_535) for value in picture.dpi)
        if picture.iptc:
            options["extra"] = _app13(picture.iptc)
    if output_format is PictureFormat.AVIF:
        # One thread: other pictures are encoded beside it.
        options |= {"speed": AVIF_SPEED, "max_threads": 1}
    if len(picture.frames) > 1:
        options |= {
            "save_all": True,
            "append_images": [to_pillow(picture, n) for n in range(1, len(picture.frames))],
            "duration": [frame.duration_ms for frame in picture.frames],
        }
        if output_format is not PictureFormat.AVIF:
            options["loop"] = picture.loops
    if output_format is PictureFormat.WEBP:
        return _webp(image, options | ({"lossless": True, "exact": True} if finish.lossless else {}))
    return _saved(image, output_format, options)


def _app13(iptc: bytes) -> bytes:
    """A JPEG's segment with Photoshop's image resources."""
    resources = resources_of_iptc(iptc)
    return b"\xff\xed" + (len(resources) + 2).to_bytes(2) + resources


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
