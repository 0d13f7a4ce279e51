"""Where pictures lie: a folder, an S3 bucket or memory, all through obstore.

A job's blobs live under the job's own prefix and are erased with it.
Writing is atomic in every store (temporary file and rename, or one put), so that nothing
half-written can be read, and writing the same key twice is harmless.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, MemoryStore, ObjectStore, from_url

STREAM_CHUNK_BYTES = 1 << 20


class BlobStoreError(Exception):
    """The blob store cannot be used: check ENLARGER_BLOBS_URL, the disk and the credentials."""


class BlobMissingError(BlobStoreError):
    """No blob lies under that key: it was erased or never written."""


@dataclass(frozen=True)
class BlobStream:
    """A blob's size and its bytes in pieces."""

    size_bytes: int
    chunks: Iterator[bytes]


class BlobStore:
    """Blobs by key. Thread-safe."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @classmethod
    def from_url(cls, url: str) -> Self:
        """`file:///folder`, `s3://bucket/prefix` (settings from the usual AWS_* variables) or `memory:///`.

        A folder is made if it is missing. Raises BlobStoreError on any other URL.
        """
        parts = urlsplit(url)
        try:
            if parts.scheme == "file" and parts.path.startswith("/"):
                folder = Path(unquote(parts.path))
                folder.mkdir(parents=True, exist_ok=True)
                return cls(LocalStore(prefix=folder))
            if parts.scheme == "memory":
                return cls(MemoryStore())
            if parts.scheme == "s3":
                return cls(from_url(url))
        except (BaseError, OSError, ValueError) as error:
            raise BlobStoreError(f"{url}: {error}") from error
        raise BlobStoreError(f"{url}: expected file:///folder, s3://bucket/prefix or memory:///")

    def put(self, key: str, content: bytes | BinaryIO) -> None:
        """Write a blob, replacing what was there. Raises BlobStoreError."""
        try:
            obstore.put(self._store, key, content)
        except (BaseError, OSError) as error:
            raise BlobStoreError(f"writing {key}: {error}") from error

    def get(self, key: str) -> bytes:
        """The whole blob. Raises BlobMissingError or BlobStoreError."""
        try:
            return obstore.get(self._store, key).bytes().to_bytes()
        except (NotFoundError, FileNotFoundError) as error:
            raise BlobMissingError(f"{key} is not there") from error
        except (BaseError, OSError) as error:
            raise BlobStoreError(f"reading {key}: {error}") from error

    def stream(self, key: str) -> BlobStream:
        """The blob in pieces, for a response. Raises BlobMissingError or BlobStoreError."""
        try:
            found = obstore.get(self._store, key)
            chunks = found.stream(min_chunk_size=STREAM_CHUNK_BYTES)
            return BlobStream(found.meta["size"], (bytes(chunk) for chunk in chunks))
        except (NotFoundError, FileNotFoundError) as error:
            raise BlobMissingError(f"{key} is not there") from error
        except (BaseError, OSError) as error:
            raise BlobStoreError(f"reading {key}: {error}") from error

    def keys(self, prefix: str, *, before: datetime | None = None) -> list[str]:
        """Every key under a prefix that ends with a slash, in order; only those last written before a moment.

        Raises BlobStoreError.
        """
        try:
            entries = [entry for page in obstore.list(self._store, prefix=prefix) for entry in page]
        except (BaseError, OSError) as error:
            raise BlobStoreError(f"listing {prefix}: {error}") from error
        return sorted(e["path"] for e in entries if before is None or e["last_modified"] < before)

    def erase(self, prefix: str) -> None:
        """Delete every blob under a prefix; nothing there is no error. Raises BlobStoreError."""
        keys = self.keys(prefix)
        try:
            for key in keys:
                obstore.delete(self._store, key)
        except (NotFoundError, FileNotFoundError):
            # Another eraser was faster with this key; what it has not reached is ours.
            self.erase(prefix)
        except (BaseError, OSError) as error:
            raise BlobStoreError(f"erasing {prefix}: {error}") from error

    def ping(self) -> None:
        """Raises BlobStoreError unless the store answers."""
        self.keys("ping/")
