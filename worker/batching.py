"""Which tiles share the next forward pass. Pure: no torch, no Redis, no threads.

Only tiles of one group (the same weights and the same shape) may share a pass. Flights
(pictures being worked on) take turns, one tile each, so that a picture of a thousand tiles holds up
one of a single tile by no more than a pass.
"""

from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

Flight = TypeVar("Flight", bound=Hashable)
Tile = TypeVar("Tile")


@dataclass
class _Line(Generic[Flight, Tile]):
    """The tiles of one flight that wait, in order."""

    flight: Flight
    waiting: deque[tuple[Hashable, int, Tile]]


class TileQueue(Generic[Flight, Tile]):
    """Tiles that wait for a forward pass."""

    def __init__(self) -> None:
        self._lines: deque[_Line[Flight, Tile]] = deque()

    def __bool__(self) -> bool:
        return bool(self._lines)

    @property
    def next_flight(self) -> Flight:
        """Whoever opens the next pass. There must be one."""
        return self._lines[0].flight

    def add(self, flight: Flight, tiles: Iterable[tuple[Hashable, int, Tile]]) -> None:
        """Let a flight's tiles wait: (group, size in pixels, tile) each, in the order they shall run."""
        waiting = deque(tiles)
        if waiting:
            self._lines.append(_Line(flight, waiting))

    def discard(self, flight: Flight) -> None:
        """Forget what a flight still has waiting."""
        self._lines = deque(line for line in self._lines if line.flight != flight)

    def next_batch(self, budget_px: int) -> list[tuple[Flight, Tile]]:
        """The tiles of the next pass: at least one where any waits, together at most `budget_px` unless one alone is larger."""
        if not self._lines:
            return []
        group = self._lines[0].waiting[0][0]
        batch: list[tuple[Flight, Tile]] = []
        spent_px = 0
        turns = deque(self._lines)
        while turns:
            line = turns.popleft()
            if not line.waiting or line.waiting[0][0] != group:
                continue
            _, size_px, tile = line.waiting[0]
            if batch and spent_px + size_px > budget_px:
                break
            line.waiting.popleft()
            batch.append((line.flight, tile))
            spent_px += size_px
            turns.append(line)
        # Whoever opened this pass goes to the end, so that other groups get theirs.
        self._lines.rotate(-1)
        self._lines = deque(line for line in self._lines if line.waiting)
        return batch
