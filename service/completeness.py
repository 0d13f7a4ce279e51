"""Whether a picture's file is whole, told from its structure without decoding.

Pillow opens a file that was cut in half without complaint; only decoding, hours later in a
worker, would show it. The walk is bounded too: a file may consist of millions of empty
chunks, through which Pillow's readers would crawl.
"""

import os
import struct
from typing import BinaryIO

from worker.contract.jobs import InputFormat

MAX_PARTS = 65_536
"""Chunks of a PNG, segments before a JPEG's data. A 50 MiB PNG with the usual 8 KiB chunks has 6400."""
MAX_SCANS = 200
"""Of a progressive JPEG; encoders write about ten. Each takes as long to decode as a whole baseline JPEG (1 ms for
every 12 megapixels at the least), so that a file of 200 kB with 6000 of them occupied a worker for seconds."""
SEARCH_STEP_BYTES = 1 << 20

MAX_GIF_BLOCKS = 1 << 18
"""Encoders fill blocks of 255 bytes: this is 64 MiB. A file with shorter ones would keep the gateway for long: so many take a quarter of a second."""

_SIGNATURES: dict[InputFormat, tuple[bytes, ...]] = {
    InputFormat.PNG: (b"\x89PNG\r\n\x1a\n",),
    InputFormat.JPEG: (b"\xff\xd8\xff",),
    InputFormat.GIF: (b"GIF87a", b"GIF89a"),
    InputFormat.TIFF: (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    InputFormat.JP2: (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
}
_BMP_HEADER_BYTES = (12, 40, 52, 56, 64, 108, 124)
BIG_TIFF = 43
"""Where other TIFFs have 42: those with offsets of 64 bits."""

_JPEG_EOI = b"\xff\xd9"
_JPEG_SOS = 0xDA
_JPEG_SOS_MARKER = b"\xff\xda"
_JPEG_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD8)}


class TruncatedError(Exception):
    """The file ends before the picture does."""


class DamagedError(Exception):
    """The file's structure makes no sense."""


def format_of(file: BinaryIO) -> InputFormat | None:
    """The format that the file's first bytes claim, or None if it is none that is supported."""
    file.seek(0)
    start = file.read(32)
    for picture_format, signatures in _SIGNATURES.items():
        if start.startswith(signatures):
            return picture_format
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return InputFormat.WEBP
    if start.startswith(b"BM") and int.from_bytes(start[14:18], "little") in _BMP_HEADER_BYTES:
        return InputFormat.BMP
    if start[:1] == b"P" and start[1:2] in b"123456" and start[2:3].isspace():
        return InputFormat.PPM
    if start[4:8] == b"ftyp":
        brands = {start[8:12], *(start[i : i + 4] for i in range(16, 32, 4))}
        if brands & {b"avif", b"avis"}:
            return InputFormat.AVIF
        if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}:
            return InputFormat.HEIC
    return None


def check_complete(file: BinaryIO, picture_format: InputFormat) -> None:
    """Raises TruncatedError or DamagedError unless the file is whole, as far as its structure tells.

    GIF, TIFF, AVIF and HEIC are looked at where their header is read. Of JPEG 2000 and Netpbm's only decoding shows it.
    """
    size_bytes = file.seek(0, os.SEEK_END)
    match picture_format:
        case InputFormat.PNG:
            _check_png(file, size_bytes)
        case InputFormat.JPEG:
            _check_jpeg(file, size_bytes)
        case InputFormat.WEBP:
            _check_webp(file, size_bytes)
        case InputFormat.BMP:
            _check_bmp(file, size_bytes)


def gif_frames(file: BinaryIO) -> int:
    """How many frames a GIF has. Raises TruncatedError or DamagedError."""
    file.seek(10)
    flags = _read(file, 3)[0]
    file.seek(13 + _colour_table_bytes(flags))
    frames = blocks = 0
    while (kind := file.read(1)) not in (b"", b";"):  # some programs leave the trailer out
        blocks += 1
        if kind == b",":
            frames += 1
            file.seek(_colour_table_bytes(_read(file, 9)[8]) + 1, os.SEEK_CUR)
        elif kind == b"!":
            file.seek(1, os.SEEK_CUR)
        else:
            raise DamagedError("the GIF has no block where one should begin")
        while length := _read(file, 1)[0]:
            file.seek(length, os.SEEK_CUR)
            blocks += 1
            if blocks > MAX_GIF_BLOCKS:
                break
        if blocks > MAX_GIF_BLOCKS:
            raise DamagedError("the GIF has too many blocks")
    if not frames:
        raise DamagedError("the GIF has no picture")
    return frames


def _colour_table_bytes(flags: int) -> int:
    return 3 * (2 << (flags & 7)) if flags & 0x80 else 0


def tiff_pages(file: BinaryIO) -> int:
    """How many pages a TIFF has. Raises TruncatedError or DamagedError."""
    file.seek(0)
    head = _read(file, 16)
    order = "<" if head[:2] == b"II" else ">"
    big = struct.unpack_from(f"{order}H", head, 2)[0] == BIG_TIFF
    offset_code, count_code, entry_bytes = ("Q", "Q", 20) if big else ("I", "H", 12)
    offset_bytes, count_bytes = struct.calcsize(f"{order}{offset_code}"), struct.calcsize(count_code)
    (position,) = struct.unpack_from(order + offset_code, head, 8 if big else 4)
    seen: set[int] = set()
    while position and position not in seen:
        if len(seen) == MAX_PARTS:
            raise DamagedError("the TIFF has too many pages")
        seen.add(position)
        file.seek(position)
        (entries,) = struct.unpack(order + count_code, _read(file, count_bytes))
        if entries > MAX_PARTS:
            raise DamagedError("the TIFF has a page of too many tags")
        file.seek(position + count_bytes + entries * entry_bytes)
        (position,) = struct.unpack(order + offset_code, _read(file, offset_bytes))
    if not seen:
        raise DamagedError("the TIFF has no page")
    return len(seen)


def _check_bmp(file: BinaryIO, size_bytes: int) -> None:
    """Without compression, every row lies within the file."""
    file.seek(10)
    start, header_bytes = struct.unpack("<II", _read(file, 8))
    if header_bytes < 40:
        return
    width, height, _, bits, compression = struct.unpack("<iiHHI", _read(file, 16))
    row_bytes = (abs(width) * bits + 31) // 32 * 4
    if compression == 0 and start + row_bytes * abs(height) > size_bytes:
        raise TruncatedError


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
