"""`python -m tests.chaos.poisoned_worker`: the worker, in which one picture does what a fault in a C library does."""

import os
import signal
import threading
import time
from typing import Any

from PIL.PngImagePlugin import PngImageFile

import worker.rq_worker
from worker.__main__ import main

POISON = "kills whoever decodes this"
"""As a PNG's comment."""
AGONY_S = 0.5
"""From the poison to death. Meanwhile the worker starts what else it has room for: a job that it had taken from the queue
and not started yet would be found only a minute after."""

load_as_ever = PngImageFile.load
doomed = threading.Event()
"""The poison is being decoded."""


def load(picture: PngImageFile) -> Any:
    """Die of the poison, and decode everything else: what comes beside the poison is not done before the end."""
    if picture.info.get("Comment") == POISON:
        doomed.set()
        time.sleep(AGONY_S)
        os.kill(os.getpid(), signal.SIGSEGV)
    if doomed.is_set():
        time.sleep(2 * AGONY_S)
    return load_as_ever(picture)


if __name__ == "__main__":
    PngImageFile.load = load  # type: ignore[assignment]
    worker.rq_worker.MAINTENANCE_EVERY_S = 1
    main()
