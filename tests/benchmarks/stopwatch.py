"""Time that an action takes, on a GPU too."""

import time
from collections.abc import Callable

import torch


def seconds(action: Callable[[], object]) -> float:
    """Until everything that the action began has ended."""
    _wait_for_device()
    started_s = time.perf_counter()
    action()
    _wait_for_device()
    return time.perf_counter() - started_s


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
