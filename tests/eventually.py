"""Waiting for a condition, never for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.01


def eventually(look: Callable[[], T | None], timeout_s: float = 20.0, what: str = "the condition holds") -> T:
    """What `look` returns, once that is truthy. Raises AssertionError naming `what` if it does not come."""
    deadline_s = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline_s, f"not within {timeout_s} s: {what}"
        time.sleep(POLL_S)
    return found
