"""How fast a worker works, so that a gateway can tell those who wait how long it will take."""

import time
from collections.abc import Callable, Collection

HALF_LIFE_S = 60.0
"""After so much work, what was seen counts half: models differ in what they get out of a device, and so does the mix of jobs."""


class Speed:
    """Work done a second, in whatever unit it is noted in, while there is any."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._ended = 0.0
        self._done = 0.0
        self._busy_s = 0.0
        self._seen = 0.0
        self._seen_s: float | None = None

    def ended(self, done: float) -> None:
        """A job ended that was so far."""
        self._ended += done

    def note(self, done: Collection[float]) -> None:
        """How far each job in flight is, now that one was taken, went on or ended. Time without any does not count."""
        now_s, total = self._clock_s(), self._ended + sum(done)
        if self._seen_s is not None:
            passed_s = now_s - self._seen_s
            keep = 0.5 ** (passed_s / HALF_LIFE_S)
            self._done = self._done * keep + max(0.0, total - self._seen)
            self._busy_s = self._busy_s * keep + passed_s
        self._seen, self._seen_s = total, now_s if done else None

    @property
    def per_s(self) -> float:
        """0 until something is done."""
        return self._done / self._busy_s if self._busy_s else 0.0
