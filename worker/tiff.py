"""Writing TIFF with deflate and EXIF, which Pillow does not do together. The format: TIFF 6.0, and its Technical Note 2 for the predictor."""

import io
import logging
from collections.abc import Iterator, Sequence
from typing import Protocol

from isal import isal_zlib
from PIL import Image
from PIL.TiffImagePlugin import AppendingTiffWriter, ImageFileDirectory_v2

from sr_models.samples import StoredSamples
from worker import png

COMPRESS_LEVEL = 2
"""ISA-L's; see worker.png."""
STRIP_BYTES = 1 << 18
"""Readers take a strip at a time."""
MAX_BYTES = (1 << 32) - 1
"""Offsets have 32 bits."""

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _STRIP_ROWS, _STRIP_LENGTHS = 273, 277, 278, 279
_PREDICTOR, _EXTRA_SAMPLES, _ICC_PROFILE = 317, 338, 34675
_DPI_ACROSS, _DPI_DOWN, _RESOLUTION_UNIT, _XMP, _IPTC = 282, 283, 296, 700, 33723
_INCH = 2
_BYTE, _LONG, _UNDEFINED = 1, 4, 7
_DEFLATE, _HORIZONTAL, _UNASSOCIATED_ALPHA = 8, 2, 2
_BLACK_IS_ZERO, _RGB = 1, 2


class Description(png.Description, Protocol):
    """What a file says besides its samples."""

    @property
    def iptc(self) -> bytes | None:
        """IPTC's records."""


class TooLargeForTiffError(ValueError):
    """A TIFF has at most 4 GiB: choose PNG."""


_SUB_DIRECTORIES = (0x8769, 0x8825)
"""EXIF's own and GPS."""
_KEPT = (
    *(270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 318, 319, 33432),
    *(0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F),  # Windows' title, comment, author, keywords, subject
    *_SUB_DIRECTORIES,
)
"""Tags that say something of a picture, and nothing of how its samples lie in the file it came from."""

logger = logging.getLogger(__name__)


def encode(pages: Sequence[StoredSamples], description: Description) -> bytes:
    """Pictures of one description as a file: each uint8 or uint16 (H, W, n) with n = 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.

    Raises TooLargeForTiffError.
    """
    files = [_encode_page(page, description) for page in pages]
    if sum(map(len, files)) > MAX_BYTES:
        raise TooLargeForTiffError
    if len(files) == 1:
        return files[0]
    file = io.BytesIO()
    with AppendingTiffWriter(file) as writer:
        for page in files:
            writer.write(page)
            writer.newFrame()
    return file.getvalue()


def _encode_page(samples: StoredSamples, description: Description) -> bytes:
    height, width, channels = samples.shape
    rows = min(height, max(1, STRIP_BYTES // (width * channels * samples.itemsize)))
    strips = list(_strips(samples, rows))
    lengths = [len(strip) for strip in strips]
    if sum(lengths) + (1 << 20) > MAX_BYTES:
        raise TooLargeForTiffError
    directory = ImageFileDirectory_v2()
    if description.exif:
        _describe(directory, description.exif)
    if description.dpi:
        directory[_DPI_ACROSS], directory[_DPI_DOWN] = description.dpi
        directory[_RESOLUTION_UNIT] = _INCH
    for tag, content in (
        (_ICC_PROFILE, description.icc_profile),
        (_IPTC, description.iptc),
        (_XMP, description.xmp),
    ):
        if content:
            directory.tagtype[tag] = _BYTE if tag == _XMP else _UNDEFINED
            directory[tag] = content
    directory[_WIDTH], directory[_HEIGHT] = width, height
    directory[_BITS] = (8 * samples.itemsize,) * channels
    directory[_COMPRESSION], directory[_PREDICTOR] = _DEFLATE, _HORIZONTAL
    directory[_PHOTOMETRIC] = _BLACK_IS_ZERO if channels < 3 else _RGB
    directory[_SAMPLES], directory[_STRIP_ROWS] = channels, rows
    if channels in (2, 4):
        directory[_EXTRA_SAMPLES] = _UNASSOCIATED_ALPHA
    directory.tagtype[_STRIP_OFFSETS] = directory.tagtype[_STRIP_LENGTHS] = _LONG
    directory[_STRIP_LENGTHS] = tuple(lengths)
    # From the first strip, which lies behind the directory: Pillow adds where that is.
    directory[_STRIP_OFFSETS] = tuple(sum(lengths[:n]) for n in range(len(lengths)))
    file = io.BytesIO()
    directory.save(file)
    file.writelines(strips)
    return file.getvalue()


def _strips(samples: StoredSamples, rows: int) -> Iterator[bytes]:
    """Each with its samples' differences from those of the pixel to the left, compressed."""
    for top in range(0, samples.shape[0], rows):
        strip = samples[top : top + rows]
        differences = strip.astype(strip.dtype.newbyteorder("<"), order="C")
        differences[:, 1:] -= strip[:, :-1]
        yield isal_zlib.compress(differences, COMPRESS_LEVEL)


def _describe(directory: ImageFileDirectory_v2, exif: bytes) -> None:
    """Copy what EXIF says; what in it cannot be written again is left out."""
    try:
        described = Image.Exif()
        described.load(exif)
        found = {
            tag: described.get_ifd(tag) if tag in _SUB_DIRECTORIES else described[tag] for tag in described
        }
    except Exception as error:  # Pillow's reader meets damage with many kinds
        logger.info("EXIF that cannot be read is left out: %r", error)
        return
    for tag in _KEPT:
        if tag not in found:
            continue
        try:
            alone = ImageFileDirectory_v2()
            alone[tag] = found[tag]
            alone.tobytes()
        except Exception as error:
            logger.info("EXIF's tag %d is left out: %r", tag, error)
        else:
            directory[tag] = found[tag]
