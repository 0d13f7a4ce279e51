"""Photographs as arrays: uint8 RGB (H, W, 3), whatever the file holds."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

UInt8Array = npt.NDArray[np.uint8]


class DatasetError(ValueError):
    """The folder holds no usable photographs: give one with PNG or JPEG files."""

    def __str__(self) -> str:
        """The message, which names files."""
        return printable(super().__str__())


@dataclass(frozen=True)
class Pair:
    """One photograph: LR (h, w, 3) and HR (scale·h, scale·w, 3), uint8 RGB."""

    name: str
    lr: UInt8Array
    hr: UInt8Array
    lr_given: bool = False
    """Whether LR lies in the dataset; otherwise it was made from HR."""


def printable(name: str) -> str:
    """A file's name, whose bytes need not be UTF-8, as text that can be written anywhere: other bytes become hexadecimal."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def read_rgb(path: Path) -> UInt8Array:
    """The picture as uint8 (H, W, 3): grey becomes RGB, 16 bits are rounded to 8, transparency is dropped.

    Raises DatasetError, which names the file, if it cannot be read.
    """
    try:
        with Image.open(path) as picture:
            if picture.mode.startswith("I;16"):  # Pillow's own conversion would cut at 255
                return _rounded_to_8_bits(np.asarray(picture))
            if picture.mode in ("I", "F"):
                raise DatasetError(f"{path} has samples of 32 bits; save it with 8 or 16 bits")
            # Through RGBA, since Pillow warns of a palette with transparency otherwise.
            opaque = picture.convert("RGBA") if picture.has_transparency_data else picture
            return np.asarray(opaque.convert("RGB"))
    except DatasetError:
        raise
    # Pillow's readers raise any of these for a damaged file.
    except (OSError, EOFError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DatasetError(f"{path} cannot be read as a picture: {error}") from error


def _rounded_to_8_bits(grey_HW: npt.NDArray[np.uint16]) -> UInt8Array:
    eight_bits = ((grey_HW.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.repeat(eight_bits[..., None], 3, axis=2)


def cropped_to_multiple(picture_HWC: UInt8Array, scale: int) -> UInt8Array:
    """The top left part whose sides are multiples of the scale."""
    height, width = picture_HWC.shape[:2]
    return picture_HWC[: height - height % scale, : width - width % scale]
