"""What the head of an AVIF or HEIC file says: the boxes of ISO/IEC 14496-12 and 23008-12, without a decoder."""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from service.completeness import MAX_PARTS, DamagedError, TruncatedError

MAX_META_BYTES = 4 << 20
"""Of the box that describes the pictures. A grid of a hundred tiles takes some kilobytes."""

_FULL_BOX_BYTES = 4
_QUARTER_TURNS = (1, 3)


@dataclass(frozen=True)
class HeifHeader:
    """The primary picture of a file."""

    width_px: int
    """As stored."""
    height_px: int
    """As stored."""
    on_its_side: bool
    """Whether it is to be turned by a quarter."""
    sequence: bool
    """Whether the file is an animation."""


def read_header(file: BinaryIO) -> HeifHeader:
    """Raises TruncatedError or DamagedError."""
    size_bytes = file.seek(0, os.SEEK_END)
    position, sequence, meta = 0, False, None
    for _ in range(MAX_PARTS):
        if position >= size_bytes:
            break
        file.seek(position)
        head = file.read(16)
        if len(head) < 8:
            raise TruncatedError
        length, kind = struct.unpack_from(">I4s", head)
        start = 8
        if length == 1 and len(head) == 16:
            length, start = struct.unpack_from(">Q", head, 8)[0], 16
        elif length == 0:
            length = size_bytes - position
        if length < start:
            raise DamagedError("a box is shorter than its head")
        if position + length > size_bytes:
            raise TruncatedError
        if kind == b"ftyp":
            file.seek(position + start)
            sequence = file.read(4) in (b"avis", b"msf1", b"hevc", b"hevx")
        if kind == b"meta" and meta is None:
            if length > MAX_META_BYTES:
                raise DamagedError("the description is too long")
            file.seek(position + start)
            meta = file.read(length - start)
        position += length
    if meta is None:
        raise DamagedError("nothing describes the picture")
    try:
        return _of_meta(meta, sequence=sequence)
    except (struct.error, IndexError, KeyError) as error:
        raise DamagedError("the description makes no sense") from error


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        if length < 8:
            return
        yield kind, content[position + 8 : position + length]
        position += length


def _of_meta(meta: bytes, *, sequence: bool) -> HeifHeader:
    found = dict(_boxes(meta[_FULL_BOX_BYTES:]))
    primary = _number(found[b"pitm"], wide=bool(found[b"pitm"][0]), position=_FULL_BOX_BYTES)
    described = list(_boxes(found[b"iprp"]))
    properties = [box for kind, content in described if kind == b"ipco" for box in _boxes(content)]
    sides: tuple[int, int] | None = None
    clean: tuple[int, int] | None = None
    on_its_side = False
    for index in _properties_of(primary, [content for kind, content in described if kind == b"ipma"]):
        kind, content = properties[index - 1]
        if kind == b"ispe":
            sides = struct.unpack_from(">II", content, _FULL_BOX_BYTES)
        elif kind == b"irot":
            on_its_side = content[0] & 3 in _QUARTER_TURNS
        elif kind == b"clap":
            width, width_parts, height, height_parts = struct.unpack_from(">IIII", content)
            clean = width // max(1, width_parts), height // max(1, height_parts)
    if sides is None or 0 in sides:
        raise DamagedError("the picture has no size")
    # HEVC codes blocks: what is beyond the picture's own sides is cut off again. More than is there, nobody can cut out.
    sides = clean if clean and 0 < clean[0] <= sides[0] and 0 < clean[1] <= sides[1] else sides
    return HeifHeader(*sides, on_its_side, sequence)


def _number(content: bytes, *, wide: bool, position: int) -> int:
    number: int = struct.unpack_from(">I" if wide else ">H", content, position)[0]
    return number


def _properties_of(item: int, associations: list[bytes]) -> Iterator[int]:
    """Their numbers, from 1."""
    for content in associations:
        version, wide_index = content[0], bool(content[3] & 1)
        (entries,) = struct.unpack_from(">I", content, 4)
        position = 8
        for _ in range(min(entries, MAX_PARTS)):
            number = _number(content, wide=version > 0, position=position)
            position += 4 if version > 0 else 2
            count = content[position]
            position += 1
            for _ in range(count):
                index = _number(content, wide=False, position=position) if wide_index else content[position]
                position += 2 if wide_index else 1
                if number == item and (index := index & (0x7FFF if wide_index else 0x7F)):
                    yield index
