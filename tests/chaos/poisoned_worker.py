"""`python -m tests.chaos.poisoned_worker`: the worker, in which one picture does what a fault in a C library does."""

import os
import signal
import threading
import time
from typing import Any

import worker.pipeline
import worker.rq_worker
from worker.__main__ import main
from worker.picture import Picture
from worker.writing import encode

POISON = b"kills whoever encodes this"
"""As a colour profile. Decoders are processes of their own; encoders, which get no stranger's bytes but these, work in the worker's."""
AGONY_S = 0.5
"""From the poison to death. Meanwhile the worker starts what else it has room for: a job that it had taken from the queue
and not started yet would be found only a minute after."""

doomed = threading.Event()
"""The poison is being encoded."""


def encode_or_die(picture: Picture, *options: Any) -> bytes:
    """Die of the poison, and encode everything else: what comes beside the poison is not done before the end."""
    if picture.icc_profile == POISON:
        doomed.set()
        time.sleep(AGONY_S)
        os.kill(os.getpid(), signal.SIGSEGV)
    if doomed.is_set():
        time.sleep(2 * AGONY_S)
    return encode(picture, *options)


if __name__ == "__main__":
    worker.pipeline.encode = encode_or_die  # type: ignore[attr-defined, assignment]
    worker.rq_worker.MAINTENANCE_EVERY_S = 1
    main()
