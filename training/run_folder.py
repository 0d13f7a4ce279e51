"""A run's folder, claimed by one process at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.run_state import RunStateError

LOCK_FILE = ".lock"


def is_first_process() -> bool:
    """Whether this process is the one of a run that writes: of those that torchrun started together, the first."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Make the folder, and keep every other run out of it until the context ends, however this process ends.

    Of processes that torchrun started, the first one claims it for all.
    Raises RunStateError where it cannot be written, or where another run is at work in it.
    """
    if not is_first_process():
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK_FILE).open("wb")
    except OSError as error:
        raise RunStateError(f"{folder} cannot be written: {error}; give another --out") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunStateError(f"another run is at work in {folder}; give another --out") from error
        yield
