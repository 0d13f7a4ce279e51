"""What a picture's header says, before anything is decoded."""

import hashlib
import os
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.Image import DecompressionBombError, Exif
from PIL.ImageFile import ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from PIL.WebPImagePlugin import WebPImageFile

from service import heif
from service.completeness import (
    BIG_TIFF,
    DamagedError,
    TruncatedError,
    check_complete,
    format_of,
    gif_frames,
    tiff_pages,
)
from service.errors import (
    EMPTY_IMAGE,
    IMAGE_DAMAGED,
    IMAGE_TRUNCATED,
    PICTURE_ANIMATED,
    RESULT_TOO_LARGE,
    TOO_MANY_PIXELS,
    UNSUPPORTED_IMAGE,
    ProblemError,
)
from worker.contract.finish import Finish
from worker.contract.jobs import InputFormat, InputPicture, PictureFormat
from worker.contract.reading import Frames

_EXIF_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)
_WIDTH, _HEIGHT = 256, 257

# The readers themselves and not Image.open: it would open pictures that hold a second one for
# 3D or HDR screens, as phones write them, as animations; and it warns at a limit of Pillow's own.
READERS: dict[InputFormat, type[ImageFile]] = {
    InputFormat.PNG: PngImageFile,
    InputFormat.JPEG: JpegImageFile,
    InputFormat.WEBP: WebPImageFile,
    InputFormat.BMP: BmpImageFile,
    InputFormat.GIF: GifImageFile,
    InputFormat.PPM: PpmImageFile,
    InputFormat.JP2: Jpeg2KImageFile,
}
"""AVIF and HEIC are not among them: Pillow would start a decoder to read their header. Of a TIFF only the tags are read."""
LEAST_FRAME_PX = 10_000
"""What a frame of an animation counts at least: a file of some megabytes can hold a million of one pixel, each of which takes a pass."""
MAX_SIDE_PX = {
    PictureFormat.PNG: 2**31 - 1,
    PictureFormat.TIFF: 2**31 - 1,
    PictureFormat.AVIF: 65_536,
    PictureFormat.JPEG: 65_500,  # libjpeg's own limit; the format's is 65,535
    PictureFormat.WEBP: 16_383,
}


@dataclass(frozen=True)
class _Header:
    width_px: int
    height_px: int
    frames: int
    on_its_side: bool


def inspect(file: BinaryIO, filename: str, max_pixels: int, frames: Frames = Frames.REFUSE) -> InputPicture:
    """Read the header of an upload. Raises ProblemError if it is no picture that can be enlarged."""
    size_bytes = file.seek(0, os.SEEK_END)
    if size_bytes == 0:
        raise ProblemError(EMPTY_IMAGE)
    picture_format = format_of(file)
    if picture_format is None:
        raise ProblemError(UNSUPPORTED_IMAGE)
    try:
        check_complete(file, picture_format)
        header = _header(file, picture_format)
    except TruncatedError:
        raise ProblemError(IMAGE_TRUNCATED) from None
    except DecompressionBombError as error:
        raise ProblemError(TOO_MANY_PIXELS, max_pixels=max_pixels) from error
    # Pillow's readers raise SyntaxError for a header that they do not understand.
    except (
        DamagedError,
        SyntaxError,
        OSError,
        OverflowError,
        ValueError,
        EOFError,
        KeyError,
        TypeError,
        struct.error,
    ) as error:
        raise ProblemError(IMAGE_DAMAGED) from error
    if header.frames > 1 and frames is Frames.REFUSE:
        raise ProblemError(
            PICTURE_ANIMATED, f"It has {header.frames} frames or pages. {PICTURE_ANIMATED.fix}"
        )
    count = header.frames if frames is Frames.ALL else 1
    pixels = header.width_px * header.height_px * count
    if count > 1 and count * LEAST_FRAME_PX > max_pixels:
        raise ProblemError(
            TOO_MANY_PIXELS,
            f"The picture has {count} frames or pages; {max_pixels // LEAST_FRAME_PX} are allowed, however small.",
            max_pixels=max_pixels,
        )
    if pixels > max_pixels:
        times = f" x {count} frames" if count > 1 else ""
        raise ProblemError(
            TOO_MANY_PIXELS,
            f"The picture has {header.width_px} x {header.height_px}{times} = {pixels} pixels; {max_pixels} are allowed.",
            max_pixels=max_pixels,
        )
    file.seek(0)
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    return InputPicture(
        picture_format,
        header.width_px,
        header.height_px,
        size_bytes,
        sha256,
        filename,
        count,
        header.on_its_side,
    )


def _header(file: BinaryIO, picture_format: InputFormat) -> _Header:
    if picture_format in (InputFormat.AVIF, InputFormat.HEIC):
        found = heif.read_header(file)
        if found.sequence:
            raise ProblemError(UNSUPPORTED_IMAGE, "An AVIF or HEIC that is an animation is not supported.")
        return _Header(found.width_px, found.height_px, 1, found.on_its_side)
    if picture_format is InputFormat.TIFF:
        return _tiff_header(file)
    file.seek(0)
    header: Any = READERS[picture_format](file)
    width_px, height_px = header.size
    match picture_format:
        case InputFormat.GIF:
            frames = gif_frames(file)
        case InputFormat.JPEG:
            frames = 1
        case _:
            frames = getattr(header, "n_frames", 1)
    if width_px < 1 or height_px < 1:
        raise DamagedError("the picture has no pixels")
    return _Header(width_px, height_px, frames, _on_its_side(header))


def _tiff_header(file: BinaryIO) -> _Header:
    pages = tiff_pages(file)
    file.seek(0)
    head = file.read(16)
    tags: Any = ImageFileDirectory_v2(head if head[2] == BIG_TIFF else head[:8])
    file.seek(tags.next)
    tags.load(file)
    width_px, height_px = int(tags[_WIDTH]), int(tags[_HEIGHT])
    if width_px < 1 or height_px < 1:
        raise DamagedError("the picture has no pixels")
    _check_tiff_data(tags, file)
    return _Header(width_px, height_px, pages, tags.get(_EXIF_ORIENTATION) in _SIDEWAYS)


def _check_tiff_data(tags: Any, file: BinaryIO) -> None:
    """Every strip, or tile, of the first page lies within the file."""
    size_bytes = file.seek(0, os.SEEK_END)
    for offsets, lengths in ((273, 279), (324, 325)):
        pairs = zip(tags.get(offsets, ()), tags.get(lengths, ()), strict=False)
        if any(offset + length > size_bytes for offset, length in pairs):
            raise TruncatedError


def _on_its_side(header: Any) -> bool:
    """Whether EXIF says that the picture is to be turned by a quarter; damaged EXIF says nothing."""
    try:
        # What stands before the pixels: asked for more, a PNG's reader would decode it.
        exif = Exif()
        exif.load(header.info.get("exif") or b"")
        return exif.get(_EXIF_ORIENTATION) in _SIDEWAYS
    except Exception:  # Pillow's reader of EXIF meets damage with many kinds
        return False


def check_result_fits(
    size_px: tuple[int, int],
    scale: int,
    output_format: PictureFormat,
    max_pixels: int,
    finish: Finish,
    frames: int = 1,
) -> None:
    """Raises ProblemError if the result of an upright picture of that size would be larger than the service or its format allows."""
    width_px, height_px = size_px[0] * scale, size_px[1] * scale
    pixels = width_px * height_px * frames
    if pixels > max_pixels:
        times = f" x {frames} frames" if frames > 1 else ""
        raise ProblemError(
            TOO_MANY_PIXELS,
            f"The result would have {width_px} x {height_px}{times} = {pixels} pixels; {max_pixels} are allowed.",
            max_pixels=max_pixels,
        )
    width_px, height_px = finish.size_px(*size_px, scale)
    if max(width_px, height_px) > MAX_SIDE_PX[output_format]:
        raise ProblemError(
            RESULT_TOO_LARGE,
            f"The result would be {width_px} x {height_px}, and a side of a {output_format} may have "
            f"{MAX_SIDE_PX[output_format]} pixels: choose format=png or a smaller size.",
        )
