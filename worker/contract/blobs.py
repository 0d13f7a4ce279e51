"""Where pictures lie: a folder, an S3 bucket or memory, all through obstore.

A job's blobs live under the job's own prefix and are erased with it.
Writing is atomic in every store (temporary file and rename, or one put), so that nothing
half-written can be read, and writing the same key twice is harmless.
"""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, MemoryStore, ObjectStore, S3Store, from_url

if TYPE_CHECKING:
    from obstore import Attributes, GetOptions, ObjectMeta  # exist for type checkers only

STREAM_CHUNK_BYTES = 1 << 20

STORE_ERRORS = (BaseError, OSError, ValueError)
"""What obstore raises; ValueError where a key cannot be one of the store's."""
NOTHING_THERE = (NotFoundError, FileNotFoundError)
"""Those of them that mean that no blob lies there."""


class BlobStoreError(Exception):
    """The blob store cannot be used: check ENLARGER_BLOBS_URL, the disk and the credentials."""


class BlobMissingError(BlobStoreError):
    """No blob lies under that key: it was erased or never written."""


def _said(error: Exception) -> str:
    """What went wrong, in a line: below it, obstore adds how its own objects looked."""
    return str(error).partition("\n")[0].strip()


@dataclass(frozen=True)
class BlobStream:
    """A blob's size and its bytes, or those of a part of it, in pieces."""

    size_bytes: int
    """Of the whole."""
    chunks: Iterator[bytes]


class BlobStore:
    """Blobs by key. Thread-safe."""

    def __init__(self, store: ObjectStore, folder: Path | None = None) -> None:
        """`folder` is where a store of files keeps them."""
        self._store = store
        self._folder = folder

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
                return cls(LocalStore(prefix=folder), folder)
            if parts.scheme == "memory":
                return cls(MemoryStore())
            if parts.scheme == "s3":
                return cls(from_url(url))
        except STORE_ERRORS as error:
            raise BlobStoreError(f"{url}: {error}") from error
        raise BlobStoreError(f"{url}: expected file:///folder, s3://bucket/prefix or memory:///")

    def put(self, key: str, content: bytes | BinaryIO, media_type: str | None = None) -> None:
        """Write a blob, replacing what was there. S3 keeps the media type, for who fetches by URL. Raises BlobStoreError."""
        attributes: Attributes = (
            {"Content-Type": media_type} if media_type and isinstance(self._store, S3Store) else {}
        )
        try:
            obstore.put(self._store, key, content, attributes=attributes or None)
        except STORE_ERRORS as error:
            raise BlobStoreError(f"writing {key}: {_said(error)}") from error

    def get(self, key: str) -> bytes:
        """The whole blob. Raises BlobMissingError or BlobStoreError."""
        try:
            return obstore.get(self._store, key).bytes().to_bytes()
        except NOTHING_THERE as error:
            raise BlobMissingError(f"{key} is not there") from error
        except STORE_ERRORS as error:
            raise BlobStoreError(f"reading {key}: {_said(error)}") from error

    def stream(self, key: str, part: range | None = None) -> BlobStream:
        """The blob, or a part of it that is not empty, in pieces, for a response. Raises BlobMissingError or BlobStoreError."""
        options: GetOptions = {} if part is None else {"range": (part.start, part.stop)}
        try:
            found = obstore.get(self._store, key, options=options)
            chunks = found.stream(min_chunk_size=STREAM_CHUNK_BYTES)
            return BlobStream(found.meta["size"], (bytes(chunk) for chunk in chunks))
        except NOTHING_THERE as error:
            raise BlobMissingError(f"{key} is not there") from error
        except STORE_ERRORS as error:
            raise BlobStoreError(f"reading {key}: {_said(error)}") from error

    def presigned_url(self, key: str, lives_s: int) -> str | None:
        """A URL that anybody can fetch the blob by for so long; None where the store has none (a folder, memory).

        Raises BlobMissingError or BlobStoreError.
        """
        if not isinstance(self._store, S3Store):
            return None
        try:
            obstore.head(self._store, key)
            return obstore.sign(self._store, "GET", key, timedelta(seconds=lives_s))
        except NOTHING_THERE as error:
            raise BlobMissingError(f"{key} is not there") from error
        except STORE_ERRORS as error:
            raise BlobStoreError(f"signing {key}: {_said(error)}") from error

    def copy(self, source_key: str, key: str) -> None:
        """Write under `key` what lies under `source_key`, within the store. Raises BlobMissingError or BlobStoreError."""
        try:
            obstore.copy(self._store, source_key, key)
        except NOTHING_THERE as error:
            raise BlobMissingError(f"{source_key} is not there") from error
        except STORE_ERRORS as error:
            raise BlobStoreError(f"copying {source_key}: {_said(error)}") from error

    def keys(self, prefix: str) -> list[str]:
        """Every key under a prefix that ends with a slash, in order. Raises BlobStoreError."""
        return sorted(entry["path"] for entry in self._entries(prefix))

    def delete(self, key: str) -> None:
        """Delete one blob; nothing there is no error. Raises BlobStoreError."""
        try:
            with suppress(*NOTHING_THERE):
                obstore.delete(self._store, key)
        except STORE_ERRORS as error:
            raise BlobStoreError(f"deleting {key}: {_said(error)}") from error

    def erase(self, prefix: str) -> None:
        """Delete everything under a prefix that ends with a slash; nothing there is no error. Raises BlobStoreError."""
        try:
            for key in self.keys(prefix):
                with suppress(*NOTHING_THERE):  # another eraser was faster
                    obstore.delete(self._store, key)
            if self._folder is not None:
                # What obstore does not list: the folder itself, and files of a writer that was killed.
                shutil.rmtree(self._folder / prefix)
        except FileNotFoundError:
            return
        except STORE_ERRORS as error:
            raise BlobStoreError(f"erasing {prefix}: {_said(error)}") from error

    def untouched_since(self, prefix: str, moment: datetime) -> list[str]:
        """The prefixes one level below `prefix` under which nothing was written since, in order. Raises BlobStoreError."""
        newest: dict[str, datetime] = {}
        if self._folder is not None:
            try:
                for folder in filter(Path.is_dir, (self._folder / prefix).iterdir()):
                    newest[f"{prefix}{folder.name}/"] = datetime.fromtimestamp(folder.stat().st_mtime, UTC)
            except FileNotFoundError:
                pass  # nothing was ever written, or just erased
            except OSError as error:
                raise BlobStoreError(f"listing {prefix}: {_said(error)}") from error
        else:
            for entry in self._entries(prefix):
                below = f"{prefix}{entry['path'].removeprefix(prefix).partition('/')[0]}/"
                newest[below] = max(entry["last_modified"], newest.get(below, entry["last_modified"]))
        return sorted(below for below, written_at in newest.items() if written_at < moment)

    def _entries(self, prefix: str) -> "list[ObjectMeta]":
        try:
            return [entry for page in obstore.list(self._store, prefix=prefix) for entry in page]
        except STORE_ERRORS as error:
            raise BlobStoreError(f"listing {prefix}: {_said(error)}") from error

    def ping(self) -> None:
        """Raises BlobStoreError unless the store answers; a folder has to be there and to take a blob."""
        if self._folder is None:
            self.keys("ping/")
            return
        if not self._folder.is_dir():  # otherwise writing would make it, where a disk is to be mounted
            raise BlobStoreError(f"{self._folder} is not there")
        key = f"ping/{uuid4().hex}"
        self.put(key, b"ping")
        self.delete(key)
