"""What a picture's header says, before anything is decoded."""

import hashlib
import os
from typing import BinaryIO

from PIL.Image import DecompressionBombError, Exif
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from service.completeness import DamagedError, TruncatedError, check_complete, format_of
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
from worker.contract.jobs import InputPicture, PictureFormat

_EXIF_ORIENTATION = 0x0112

# The readers themselves and not Image.open: it would open pictures that hold a second one for
# 3D or HDR screens, as phones write them, as animations; and it warns at a limit of Pillow's own.
READERS: dict[PictureFormat, type[ImageFile]] = {
    PictureFormat.PNG: PngImageFile,
    PictureFormat.JPEG: JpegImageFile,
    PictureFormat.WEBP: WebPImageFile,
}
MAX_SIDE_PX = {
    PictureFormat.PNG: 2**31 - 1,
    PictureFormat.TIFF: 2**31 - 1,
    PictureFormat.AVIF: 65_536,
    PictureFormat.JPEG: 65_500,  # libjpeg's own limit; the format's is 65,535
    PictureFormat.WEBP: 16_383,
}


def inspect(file: BinaryIO, filename: str, max_pixels: int) -> InputPicture:
    """Read the header of an upload. Raises ProblemError if it is no picture that can be enlarged."""
    size_bytes = file.seek(0, os.SEEK_END)
    if size_bytes == 0:
        raise ProblemError(EMPTY_IMAGE)
    picture_format = format_of(file)
    if picture_format is None:
        raise ProblemError(UNSUPPORTED_IMAGE)
    try:
        check_complete(file, picture_format)
        file.seek(0)
        header = READERS[picture_format](file)
    except TruncatedError:
        raise ProblemError(IMAGE_TRUNCATED) from None
    except DecompressionBombError as error:
        raise ProblemError(TOO_MANY_PIXELS, max_pixels=max_pixels) from error
    # Pillow's readers raise SyntaxError for a header that they do not understand.
    except (DamagedError, SyntaxError, OSError, ValueError, EOFError) as error:
        raise ProblemError(IMAGE_DAMAGED) from error
    width_px, height_px = header.size
    if width_px * height_px > max_pixels:
        raise ProblemError(
            TOO_MANY_PIXELS,
            f"The picture has {width_px} x {height_px} = {width_px * height_px} pixels; {max_pixels} are allowed.",
            max_pixels=max_pixels,
        )
    if getattr(header, "n_frames", 1) > 1:
        raise ProblemError(PICTURE_ANIMATED)
    file.seek(0)
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    return InputPicture(picture_format, width_px, height_px, size_bytes, sha256, filename)


def upright_size_px(file: BinaryIO, picture: InputPicture) -> tuple[int, int]:
    """Width and height of an inspected picture as people see it, turned as its EXIF says; damaged EXIF says nothing."""
    file.seek(0)
    try:
        # What stands before the pixels: asked for more, a PNG's reader would decode it.
        content = READERS[picture.format](file).info.get("exif")
        exif = Exif()
        exif.load(content or b"")
        on_its_side = exif.get(_EXIF_ORIENTATION) in (5, 6, 7, 8)
    except Exception:  # Pillow's reader of EXIF meets damage with many kinds
        on_its_side = False
    size_px = (picture.width_px, picture.height_px)
    return size_px[::-1] if on_its_side else size_px


def check_result_fits(
    size_px: tuple[int, int], scale: int, output_format: PictureFormat, max_pixels: int, finish: Finish
) -> None:
    """Raises ProblemError if the result of an upright picture of that size would be larger than the service or its format allows."""
    width_px, height_px = size_px[0] * scale, size_px[1] * scale
    if width_px * height_px > max_pixels:
        raise ProblemError(
            TOO_MANY_PIXELS,
            f"The result would have {width_px} x {height_px} = {width_px * height_px} pixels; "
            f"{max_pixels} are allowed.",
            max_pixels=max_pixels,
        )
    width_px, height_px = finish.size_px(*size_px, scale)
    if max(width_px, height_px) > MAX_SIDE_PX[output_format]:
        raise ProblemError(
            RESULT_TOO_LARGE,
            f"The result would be {width_px} x {height_px}, and a side of a {output_format} may have "
            f"{MAX_SIDE_PX[output_format]} pixels: choose format=png or a smaller size.",
        )
