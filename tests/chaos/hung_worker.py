"""`python -m tests.chaos.hung_worker`: the worker, whose forward pass over one picture never ends."""

import time
from collections.abc import Callable

import worker.rq_worker
from sr_models.samples import StoredSamples
from sr_models.upscaler import Upscaler, nothing
from worker.__main__ import main

HANGS = (1, 2, 3)
"""The colour of the picture's first sample."""

enlarge_as_ever = Upscaler.enlarge


def enlarge(
    upscaler: Upscaler, lr_NHWC: StoredSamples, between_layers: Callable[[], None] = nothing
) -> StoredSamples:
    """Never return from that picture."""
    while (lr_NHWC[:, 0, 0] == HANGS).all(axis=-1).any():
        time.sleep(1.0)
    return enlarge_as_ever(upscaler, lr_NHWC, between_layers)


if __name__ == "__main__":
    Upscaler.enlarge = enlarge  # type: ignore[assignment, method-assign]
    worker.rq_worker.MAINTENANCE_EVERY_S = 1
    main()
