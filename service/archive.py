"""The results of a group as one ZIP, made while it is sent."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath

from zipstream import ZIP_STORED, ZipStream

from worker.contract.blobs import BlobStore
from worker.contract.jobs import JobFailure

ERRORS_NAME = "errors.json"


@dataclass(frozen=True)
class Entry:
    """A result that goes into the archive."""

    filename: str
    """What it would be called alone, without a path."""
    key: str
    """Where it lies in the blob store."""
    size_bytes: int
    """Its length."""


@dataclass(frozen=True)
class Missing:
    """A picture of the group that has no result."""

    index: int
    """Its place in the request, from 0."""
    filename: str
    """The name that the client gave."""
    failure: JobFailure
    """Why."""


def archive(blobs: BlobStore, entries: Sequence[Entry], missing: Sequence[Missing]) -> ZipStream:
    """The ZIP: iterate over it for its bytes, ask `len` for their number.

    The results are stored as they are, since pictures are compressed already. Of what is missing tells `errors.json`, which is
    there only then. A blob that goes away meanwhile raises a BlobStoreError while the archive is sent, which its length shows.
    """
    zip_stream = ZipStream(compress_type=ZIP_STORED, sized=True)
    taken = {ERRORS_NAME} if missing else set()
    for entry in entries:
        name = _unique(entry.filename, taken)
        zip_stream.add(_chunks(blobs, entry), name, size=entry.size_bytes)
    if missing:
        told = [{"index": m.index, "filename": m.filename, **asdict(m.failure)} for m in missing]
        zip_stream.add(json.dumps(told, indent=2, ensure_ascii=False).encode(), ERRORS_NAME)
    return zip_stream


def _chunks(blobs: BlobStore, entry: Entry) -> Iterator[bytes]:
    """Opened when its turn comes."""
    yield from blobs.stream(entry.key).chunks


def _unique(filename: str, taken: set[str]) -> str:
    """The name, with a number where another one is the same; where case does not count, as on Windows and macOS, too.

    >>> taken = set()
    >>> [_unique(name, taken) for name in ("a_x2.png", "A_x2.png", "a_x2.png", "b.png")]
    ['a_x2.png', 'A_x2-2.png', 'a_x2-3.png', 'b.png']
    """
    path, number, name = PurePosixPath(filename), 1, filename
    while name.casefold() in taken:
        number += 1
        name = f"{path.stem}-{number}{path.suffix}"
    taken.add(name.casefold())
    return name
