"""The folder in which `enlarger up` keeps its queue, its pictures and its lock.

- `lock`: held while a stack runs; says who holds it.
- `valkey.sock`: the queue's socket, or a link to it where the path is too long for one, or others may enter the folder.
- `valkey/`: the queue's append-only file.
- `blobs/`: uploads and results.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

LOCK_WAIT_S = 2.0
"""A stack that was killed holds its lock until its Valkey is dead too, a moment later."""
LOCK_POLL_S = 0.05
SOCKET_NAME = "valkey.sock"
SOCKET_PATH_BYTES = 100
"""`sun_path` holds 108 bytes on Linux and 104 on macOS, with the closing zero."""


class DataFolderError(Exception):
    """The data folder cannot be used: give --data a folder that may be written."""


class DataFolderBusyError(DataFolderError):
    """Another `enlarger up` uses the data folder: stop it, or give --data another folder."""


def default_data_folder() -> Path:
    """`enlarger` in the user's data folder by the XDG base directory specification."""
    # The specification says to ignore a relative path.
    xdg = Path(os.environ.get("XDG_DATA_HOME", ""))
    return (xdg if xdg.is_absolute() else Path.home() / ".local" / "share") / "enlarger"


@dataclass(frozen=True)
class DataFolder:
    """A data folder whose lock is ours."""

    path: Path
    """Absolute."""
    socket: Path
    """Where Valkey is to listen: in a folder that only this user may enter."""
    lock_fd: int
    """A process that inherits it holds the lock for as long as it lives."""

    @property
    def valkey(self) -> Path:
        """Where Valkey writes."""
        return self.path / "valkey"

    @property
    def blobs_url(self) -> str:
        """Where uploads and results lie."""
        return (self.path / "blobs").as_uri()


@contextmanager
def locked_data_folder(path: Path, holder: str) -> Iterator[DataFolder]:
    """Make the folder if it is missing, and hold it. `holder` tells others who does.

    Raises DataFolderBusyError if another stack holds it, DataFolderError if it cannot be made or written.
    """
    path = path.expanduser().resolve()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (path / "valkey").mkdir(mode=0o700, exist_ok=True)
        # Not removed at the end: another process could hold the removed file's lock while a third locks a new one.
        opened = (path / "lock").open("a+b")
    except OSError as error:
        raise DataFolderError(f"{path} cannot be used ({error}): give --data another folder") from error
    with opened as lock:
        _take(lock, path)
        lock.truncate(0)
        lock.write(holder.encode())
        lock.flush()
        with _socket(path) as socket:
            yield DataFolder(path, socket, lock.fileno())


def _take(lock: BinaryIO, path: Path) -> None:
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                lock.seek(0)
                holder = lock.read().decode(errors="replace") or "another process"
                raise DataFolderBusyError(
                    f"{path} is in use by {holder}: stop it, or give --data another folder"
                ) from error
        time.sleep(LOCK_POLL_S)


def socket_of(path: Path) -> Path:
    """Where the Valkey of the stack that runs in that data folder listens; where it would, if none runs."""
    # Resolved, because a link's own path may be too long to connect to.
    return (path.expanduser() / SOCKET_NAME).resolve()


@contextmanager
def _socket(path: Path) -> Iterator[Path]:
    socket = path / SOCKET_NAME
    if socket.is_symlink():  # of a stack that was killed
        socket.unlink()
    private = path.stat().st_mode & 0o077 == 0
    if private and len(os.fsencode(socket)) <= SOCKET_PATH_BYTES:
        yield socket
        return
    folder = Path(tempfile.mkdtemp(prefix="enlarger-"))  # 0700
    try:
        socket.unlink(missing_ok=True)  # of a stack that was killed before the folder was opened to others
        socket.symlink_to(folder / SOCKET_NAME)
        yield folder / SOCKET_NAME
    finally:
        socket.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
