"""Which tiles share the next forward pass. Pure: no torch, no Redis, no threads.

Only tiles of one group (the same weights and the same shape) may share a pass. Flights
(pictures being worked on) take turns, one tile each, so that a picture of a thousand tiles holds up
one of a single tile by no more than a pass.

Flights that nobody waits for, and those so large that whoever sent them expects to wait, are in the
background: while there are others they open one pass in `BACKGROUND_EVERY` and join others only where there is room. That is
enough never to starve. A pass of the background may give way to one of the foreground in its midst: see `worker.engine`.
"""

from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

BACKGROUND_EVERY = 4
"""Every fourth pass is opened by the background where both wait: it keeps a quarter of the device."""

Flight = TypeVar("Flight", bound=Hashable)
Tile = TypeVar("Tile")


@dataclass(eq=False)
class _Line(Generic[Flight, Tile]):
    """The tiles of one flight that wait, in order."""

    flight: Flight
    waiting: deque[tuple[Hashable, int, Tile]]


class TileQueue(Generic[Flight, Tile]):
    """Tiles that wait for a forward pass."""

    def __init__(self) -> None:
        self._foreground: deque[_Line[Flight, Tile]] = deque()
        self._background: deque[_Line[Flight, Tile]] = deque()
        self._passes = 0
        self.waiting_px = 0
        """LR pixels of all tiles that wait."""

    def __bool__(self) -> bool:
        return bool(self._foreground or self._background)

    @property
    def next_flight(self) -> Flight:
        """Whoever opens the next pass. There must be one."""
        return self._in_order()[0][0].flight

    def add(
        self, flight: Flight, tiles: Iterable[tuple[Hashable, int, Tile]], *, background: bool = False
    ) -> None:
        """Let a flight's tiles wait: (group, size in pixels, tile) each, in the order they shall run."""
        waiting = deque(tiles)
        self.waiting_px += sum(size_px for _, size_px, _ in waiting)
        if waiting:
            (self._background if background else self._foreground).append(_Line(flight, waiting))

    def discard(self, flight: Flight) -> None:
        """Forget what a flight still has waiting."""
        for lines in (self._foreground, self._background):
            for line in [line for line in lines if line.flight == flight]:
                lines.remove(line)
                self.waiting_px -= sum(size_px for _, size_px, _ in line.waiting)

    @property
    def next_in_foreground(self) -> Flight | None:
        """Whoever opens the next pass of the foreground."""
        return self._foreground[0].flight if self._foreground else None

    def next_batch(self, budget_px: int, *, background: bool = True) -> list[tuple[Flight, Tile]]:
        """The tiles of the next pass: at least one where any waits, together at most `budget_px` unless one alone is larger.

        Without the `background`, a pass of the foreground that does not count as anybody's turn.
        """
        in_order = self._in_order() if background else [self._foreground]
        if not in_order or not in_order[0]:
            return []
        self._passes += background
        group = in_order[0][0].waiting[0][0]
        batch: list[tuple[Flight, Tile]] = []
        room_px = budget_px
        for lines in in_order:
            turns = deque(lines)
            while turns:
                line = turns.popleft()
                if not line.waiting or line.waiting[0][0] != group:
                    continue
                _, size_px, tile = line.waiting[0]
                if batch and size_px > room_px:
                    break
                line.waiting.popleft()
                batch.append((line.flight, tile))
                room_px -= size_px
                self.waiting_px -= size_px
                turns.append(line)
        # Whoever opened this pass goes to the end, so that other groups get theirs.
        in_order[0].rotate(-1)
        for lines in in_order:
            for line in [line for line in lines if not line.waiting]:
                lines.remove(line)
        return batch

    def _in_order(self) -> list[deque[_Line[Flight, Tile]]]:
        """Both kinds, those first that open the next pass, without one that is empty."""
        lines = [self._foreground, self._background]
        if self._passes % BACKGROUND_EVERY == BACKGROUND_EVERY - 1:
            lines.reverse()
        return [each for each in lines if each]
