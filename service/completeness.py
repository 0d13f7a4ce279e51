"""Whether a picture's file is whole, told from its structure without decoding.

Pillow opens a file that was cut in half without complaint; only decoding, hours later in a
worker, would show it. The walk is bounded too: a file may consist of millions of empty
chunks, through which Pillow's readers would crawl.
"""

import os
import struct
from typing import BinaryIO

from worker.contract.jobs import PictureFormat

MAX_PARTS = 65_536
"""Chunks of a PNG, segments before a JPEG's data. A 50 MiB PNG with the usual 8 KiB chunks has 6400."""
MAX_SCANS = 200
"""Of a progressive JPEG; encoders write about ten. Each takes as long to decode as a whole baseline JPEG (1 ms for
every 12 megapixels at the least), so that a file of 200 kB with 6000 of them occupied a worker for seconds."""
SEARCH_STEP_BYTES = 1 << 20

_JPEG_EOI = b"\xff\xd9"
_JPEG_SOS = 0xDA
_JPEG_SOS_MARKER = b"\xff\xda"
_JPEG_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD8)}


class TruncatedError(Exception):
    """The file ends before the picture does."""


class DamagedError(Exception):
    """The file's structure makes no sense."""


def format_of(file: BinaryIO) -> PictureFormat | None:
    """The format that the file's first bytes claim, or None if it is none that is supported."""
    file.seek(0)
    start = file.read(12)
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return PictureFormat.PNG
    if start.startswith(b"\xff\xd8\xff"):
        return PictureFormat.JPEG
    if start.startswith(b"RIFF") and start[8:] == b"WEBP":
        return PictureFormat.WEBP
    return None


def check_complete(file: BinaryIO, picture_format: PictureFormat) -> None:
    """Raises TruncatedError or DamagedError unless the file is whole."""
    size_bytes = file.seek(0, os.SEEK_END)
    match picture_format:
        case PictureFormat.PNG:
            _check_png(file, size_bytes)
        case PictureFormat.JPEG:
            _check_jpeg(file, size_bytes)
        case PictureFormat.WEBP:
            _check_webp(file, size_bytes)


def _check_png(file: BinaryIO, size_bytes: int) -> None:
    """Every chunk lies within the file, up to IEND."""
    position = 8
    for _ in range(MAX_PARTS):
        file.seek(position)
        length, kind = struct.unpack(">I4s", _read(file, 8))
        position += 12 + length
        if position > size_bytes:
            raise TruncatedError
        if kind == b"IEND":
            return
    raise DamagedError("the PNG has too many chunks")


def _check_jpeg(file: BinaryIO, size_bytes: int) -> None:
    """Every segment lies within the file, up to the data; and after their start comes the end marker."""
    position = 2
    for _ in range(MAX_PARTS):
        file.seek(position)
        prefix, marker = _read(file, 2)
        if prefix != 0xFF or marker == _JPEG_EOI[1]:
            raise DamagedError("the JPEG has no picture data where they should begin")
        if marker == 0xFF:  # a fill byte
            position += 1
        elif marker in _JPEG_WITHOUT_LENGTH:
            position += 2
        else:
            (length,) = struct.unpack(">H", _read(file, 2))
            position += 2 + length
            if position > size_bytes:
                raise TruncatedError
            if marker == _JPEG_SOS:
                _check_jpeg_data(file, position)
                return
    raise DamagedError("the JPEG has too many segments")


def _check_webp(file: BinaryIO, size_bytes: int) -> None:
    """RIFF says how long the file is."""
    file.seek(4)
    (length,) = struct.unpack("<I", _read(file, 4))
    if 8 + length > size_bytes:
        raise TruncatedError


def _read(file: BinaryIO, length: int) -> bytes:
    found = file.read(length)
    if len(found) < length:
        raise TruncatedError
    return found


def _check_jpeg_data(file: BinaryIO, position: int) -> None:
    """The end marker comes, and before it not too many scans.

    A 0xFF within the data is followed by 0x00 or a restart marker, so the bytes of a marker are that marker,
    but for the few tables between scans.
    """
    file.seek(position)
    scans = 1
    last = b""
    while step := file.read(SEARCH_STEP_BYTES):
        data = last + step
        scans += data.count(_JPEG_SOS_MARKER)
        if scans > MAX_SCANS:
            raise DamagedError("the JPEG has too many scans")
        if _JPEG_EOI in data:
            return
        last = step[-1:]
    raise TruncatedError
