"""The device's threads: forward passes over the tiles of every picture in flight.

Pictures may be submitted at any time; their tiles join the next pass, and each picture is done
as soon as its last tile is. A GPU has one thread. A CPU has several, whose passes run side by side on a share of the cores each: that
wastes less than all cores in one pass, which wait for each other at every layer (docs/decisions/0009).
"""

import logging
import math
import threading
import time
import traceback
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sr_models.ensemble import TURNS, turned, turned_back
from sr_models.samples import StoredSamples, white
from sr_models.tiling import Window
from sr_models.upscaler import Float32Array, NotFiniteError, Upscaler, cut, nothing, place
from worker.batching import TileQueue
from worker.contract.logs import current_job, job_in_log
from worker.errors import CanceledError, DeviceMemoryError, ResultNotFiniteError
from worker.metrics import WorkerMetrics
from worker.pass_budget import measured_budget_px

Int32Array = npt.NDArray[np.int32]

logger = logging.getLogger(__name__)

LARGE_PX = 1 << 20
"""A picture with more LR pixels to be seen goes to the background: whoever sent it expects to wait."""

LONGEST_WAIT_S = 0.5
"""How long a pass of the background waits at most, between two of its layers, for one of the foreground on another thread."""

FOREGROUND_SHARE = 3
"""How much longer than a pass of the background those may take, in all, for which it gave way."""


FIXED_POINT = 4096
"""Of the sums of an ensemble: 31 bits hold 64 times the range of a sample, to a four thousandth of a level of 8 bits."""

MOST_STREAMS = 4
"""Passes side by side on a CPU: each takes memory of its own, EDSR-baseline x4 350 MB."""


MOST_TIMES_PUT_BACK = 32
"""After so many tiles of a picture that found no memory beside other passes, it fails."""


def no_progress(share: float) -> None:
    """For callers who do not watch."""


def never_canceled() -> bool:
    """For callers who do not cancel."""
    return False


@dataclass(frozen=True)
class Tile:
    """One window of one of a flight's planes, as the network is to see it."""

    plane: int
    window: Window
    turn: int = 0
    """See :data:`sr_models.ensemble.TURNS`."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of what the network sees."""
        height, width = self.window.shape
        return (width, height) if self.turn % 2 else (height, width)


@dataclass(eq=False)
class Flight:
    """One picture being enlarged."""

    upscaler: Upscaler
    planes: Sequence[StoredSamples]
    canvases: list[StoredSamples]
    on_progress: Callable[[float], None]
    canceled: Callable[[], bool]
    ensemble: bool
    background: bool
    tiles_total: int
    tiles_done: int = 0
    sums: dict[tuple[int, Window], tuple[int, Int32Array]] = field(default_factory=dict)
    """With `ensemble`: of the windows that have not been seen from every side yet, how many were, and their sum. In fixed
    point: a sum of floats would depend on their order."""
    landing: threading.Lock = field(default_factory=threading.Lock)
    """Held while a tile is put in its place."""
    job_id: str = field(default_factory=current_job)
    """For the log."""
    put_back: int = 0
    """How often a tile of it was set aside for want of memory."""
    waiting_since_s: float = field(default_factory=time.monotonic)
    """When it was submitted, or had its last pass."""
    future: "Future[list[StoredSamples]]" = field(default_factory=Future)

    def mean(self, tile: Tile, enlarged_HWC: Float32Array) -> StoredSamples | None:
        """The window's samples once it has been seen from every side."""
        key = tile.plane, tile.window
        count, total = self.sums.pop(key, (0, None))
        fixed = np.rint(turned_back(enlarged_HWC, tile.turn) * FIXED_POINT).astype(np.int32)
        total = fixed if total is None else total + fixed
        if count + 1 < len(TURNS):
            self.sums[key] = count + 1, total
            return None
        plane = self.planes[tile.plane]
        most = white(plane)
        mean = total * (most / 255 / (FIXED_POINT * len(TURNS)))
        return mean.round().clip(0, most).astype(plane.dtype)


class GiveWay:
    """What a pass of the background does between its layers: it lets passes of the foreground go first.

    Large tiles cost less for each pixel, and yet nobody who waits for a small picture waits for the end of one.
    """

    def __init__(self, let_go_first: Callable[[], bool], began_s: float) -> None:
        """`let_go_first` returns when a pass of the foreground has ended, or False at once where there is none."""
        self._let_go_first = let_go_first
        self._began_s = began_s
        self.others_s = 0.0
        """What they took."""

    def __call__(self) -> None:
        """Give way, unless others had more than their share."""
        now_s = time.monotonic()
        if self.others_s > FOREGROUND_SHARE * (now_s - self._began_s - self.others_s):
            return
        if self._let_go_first():
            self.others_s += time.monotonic() - now_s


class Engine:
    """Runs forward passes on threads of its own until it is closed."""

    def __init__(
        self, *, tile_px: int, batch_px: int = 0, threads: int = 0, metrics: WorkerMetrics | None = None
    ) -> None:
        """`batch_px`: LR pixels in one pass; 0 measures what is best for each model when its first picture comes.

        `threads`: of the CPU that computes, for the passes that run side by side to share; 0 for any other device.
        """
        self._tile_px = tile_px
        self._batch_px = batch_px
        self._metrics = metrics or WorkerMetrics()
        self._budgets_px: dict[str, int] = {}
        self._tiles: TileQueue[Flight, Tile] = TileQueue()
        self._changed = threading.Condition()
        self._closed = False
        self._threads_total = threads
        self._passes = 0
        self._foreground_passes = 0
        self._company_s = -math.inf
        self._set_aside: list[tuple[Flight, Tile]] = []
        self._measuring = threading.Lock()
        self._streams: list[threading.Thread] = [
            threading.Thread(target=self._run, name=f"engine-{number}", daemon=True)
            for number in range(1, 1 + min(max(1, threads), MOST_STREAMS))
        ]
        for stream in self._streams:
            stream.start()

    def submit(
        self,
        upscaler: Upscaler,
        planes: Sequence[StoredSamples],
        on_progress: Callable[[float], None] = no_progress,
        canceled: Callable[[], bool] = never_canceled,
        *,
        ensemble: bool = False,
        background: bool = False,
    ) -> "Future[list[StoredSamples]]":
        """Enlarge planes of one size and type, each uint8 or uint16 (H, W, 3), to (scale·H, scale·W, 3) of that type.

        `on_progress` gets the share of tiles done, from a thread of the engine's: it must be quick.
        `canceled` is asked before each pass; the future then raises CanceledError. With `ensemble` each tile is seen from eight
        sides, which are eight tiles. `background`: nobody waits for it.
        """
        height, width = planes[0].shape[:2]
        scale = upscaler.scale
        tiles = [
            Tile(plane, window, turn)
            for plane in range(len(planes))
            for window in upscaler.windows(height, width, self._tile_px)
            for turn in (TURNS if ensemble else TURNS[:1])
        ]
        canvases = [np.empty((height * scale, width * scale, 3), plane.dtype) for plane in planes]
        waiting = [_waiting(upscaler, ensemble, planes[0].dtype, tile) for tile in tiles]
        background = background or sum(size_px for _, size_px, _ in waiting) > LARGE_PX
        flight = Flight(upscaler, planes, canvases, on_progress, canceled, ensemble, background, len(tiles))
        with self._changed:
            if self._closed:
                raise RuntimeError("the engine is closed")
            self._tiles.add(flight, waiting, background=background)
            self._changed.notify_all()
        return flight.future

    def close(self) -> None:
        """Finish what was submitted, then end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for stream in self._streams:
            stream.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._tiles or self._closed)
                if not self._tiles:
                    return
                upscaler = self._tiles.next_flight.upscaler
                budget_px = self._budgets_px.get(upscaler.manifest.weights_sha256)
                batch = self._tiles.next_batch(self._part_of(budget_px)) if budget_px else []
            if not budget_px:
                # Not while pictures are submitted, which needs the lock; by then, others may be first in line.
                self._measure_budget(upscaler)
            self._enlarge(batch)
            # Or an idle engine keeps the last pass's pictures: 170 MB of one with 12 megapixels at scale 2.
            del batch

    def _part_of(self, budget_px: int) -> int:
        """No more for one pass than leaves as much for each of the other streams."""
        return min(budget_px, self._tiles.waiting_px // len(self._streams))

    def _measure_budget(self, upscaler: Upscaler) -> None:
        """For a pass of that model, by one thread: the others have it then."""
        weights = upscaler.manifest.weights_sha256
        with self._measuring:
            if weights in self._budgets_px:
                return
            if self._threads_total:  # as it will be where there is much to do
                torch.set_num_threads(max(1, self._threads_total // len(self._streams)))
            try:
                budget_px = self._batch_px or measured_budget_px(upscaler, self._tile_px)
            except Exception as error:  # its pictures will meet it too, and say it to whoever sent them
                logger.warning("%s: no pass could be measured: %s", upscaler.manifest.label, error)
                budget_px = self._tile_px**2
            self._budgets_px[weights] = budget_px

    def _still_wanted(self, flight: Flight) -> bool:
        if not flight.future.done() and flight.canceled():
            self._fail(flight, CanceledError())
        return not flight.future.done()

    def _enlarge(self, batch: list[tuple[Flight, Tile]]) -> None:
        """One pass over what is still wanted. An error in company says nothing of who caused it: each tile then runs alone.

        Where the device's memory was too small, later passes have half the pixels.
        """
        batch = [(flight, tile) for flight, tile in batch if self._still_wanted(flight)]
        if not batch:
            return
        began_s = time.monotonic()
        with job_in_log(*(flight.job_id for flight, _ in batch)):
            try:
                enlarged_NHWC = self._pass(batch)
            except Exception as error:
                # The frames of its traceback hold the activations of the pass that failed: its parts need that memory.
                traceback.clear_frames(error.__traceback__)
                self._apart(batch, error, began_s)
                return
            for (flight, tile), enlarged_HWC in zip(batch, enlarged_NHWC, strict=True):
                try:
                    self._land(flight, tile, enlarged_HWC)
                except Exception as error:  # this thread is everybody's
                    logger.exception("a tile could not be put in its place")
                    self._fail(flight, _as_job_error(error))

    def _pass(self, batch: list[tuple[Flight, Tile]]) -> npt.NDArray[Any]:
        """What the network makes of the tiles; one that the background has to itself gives way between its layers."""
        opener, upscaler = batch[0][0], batch[0][0].upscaler
        began_s = time.monotonic()
        way = GiveWay(self._foreground_pass, began_s)
        background = all(flight.background for flight, _ in batch)
        enlarge = upscaler.enlarge_unrounded if opener.ensemble else upscaler.enlarge
        retried = upscaler.retried_in_float32
        windows_NHWC = np.stack(
            [turned(cut(flight.planes[tile.plane], tile.window), tile.turn) for flight, tile in batch]
        )
        with self._share_of_cores(background):
            enlarged_NHWC = enlarge(windows_NHWC, way if background else nothing)
        ended_s = time.monotonic()
        self._metrics.retried_in_float32(upscaler.retried_in_float32 - retried)
        self._metrics.pass_done(
            upscaler.manifest.label,
            tiles=len(batch),
            pixels=sum(tile.shape[0] * tile.shape[1] for _, tile in batch),
            budget_px=self._budgets_px[upscaler.manifest.weights_sha256],
            wait_s=began_s - opener.waiting_since_s,
            forward_s=ended_s - began_s - way.others_s,
        )
        for flight, _ in batch:
            flight.waiting_since_s = ended_s
        return enlarged_NHWC

    @contextmanager
    def _share_of_cores(self, background: bool) -> Iterator[None]:
        """Within it, this thread's pass has the cores that are its due.

        All of them, if it is alone and no tile waits that another stream will take; a pass of the foreground, if those of the
        background give way to it.
        """
        with self._changed:
            self._passes += 1
            self._note_company()
            self._foreground_passes += not background
            rivals = self._passes if background else self._foreground_passes
            if self._tiles.next_in_foreground or (background and self._tiles):
                rivals = max(rivals, len(self._streams))
        if self._threads_total:
            torch.set_num_threads(max(1, self._threads_total // rivals))
        try:
            yield
        finally:
            with self._changed:
                self._note_company()
                self._passes -= 1
                self._foreground_passes -= not background
                self._take_up_again()
                self._changed.notify_all()

    def _note_company(self) -> None:
        """Remember when passes last ran side by side, or one within another."""
        if self._passes > 1:
            self._company_s = time.monotonic()

    def _foreground_pass(self) -> bool:
        """Run a pass of the foreground, or wait for the end of one that runs elsewhere; False where there is none."""
        with self._changed:
            first = self._tiles.next_in_foreground
            budget_px = first and self._budgets_px.get(first.upscaler.manifest.weights_sha256)
            batch = self._tiles.next_batch(self._part_of(budget_px), background=False) if budget_px else []
            if not batch:
                if not self._foreground_passes:
                    return False
                done = lambda: not self._foreground_passes or self._tiles.next_in_foreground  # noqa: E731
                self._changed.wait_for(done, LONGEST_WAIT_S)
                return True
        threads = torch.get_num_threads()
        self._enlarge(batch)
        if self._threads_total:
            torch.set_num_threads(threads)
        return True

    def _apart(self, batch: list[tuple[Flight, Tile]], error: Exception, began_s: float) -> None:
        """What failed in one pass, in several: halves where memory was too small, else tile by tile."""
        flight, tile = batch[0]
        if len(batch) == 1 and _is_out_of_memory(error) and self._put_back(flight, tile, began_s):
            return
        if len(batch) == 1:
            logger.error("the forward pass failed", exc_info=error)
            self._fail(flight, _as_job_error(error))
            return
        part = 1
        if _is_out_of_memory(error):
            part = len(batch) // 2
            self._metrics.split_for_memory()
            self._lower_budget(flight.upscaler, part * np.prod(tile.shape).item())
        else:
            self._metrics.isolated()
        logger.warning("a pass over %d tiles failed (%s); running %d at a time", len(batch), error, part)
        for first in range(0, len(batch), part):
            self._enlarge(batch[first : first + part])

    def _put_back(self, flight: Flight, tile: Tile, began_s: float) -> bool:
        """Whether a tile for which there was no memory beside other passes, or within one, waits for the end of one of those."""
        with self._changed:
            if self._company_s < began_s or flight.put_back == MOST_TIMES_PUT_BACK:
                return False
            flight.put_back += 1
            self._set_aside.append((flight, tile))
            if not self._passes:  # they have ended meanwhile
                self._take_up_again()
                self._changed.notify_all()
        return True

    def _take_up_again(self) -> None:
        for flight, tile in self._set_aside:
            # In the background, which interrupts nobody.
            self._tiles.add(
                flight,
                [_waiting(flight.upscaler, flight.ensemble, flight.planes[0].dtype, tile)],
                background=True,
            )
        self._set_aside.clear()

    def _land(self, flight: Flight, tile: Tile, enlarged_HWC: npt.NDArray[Any]) -> None:
        """Put what came of a tile where it belongs; the last one ends the flight."""
        with flight.landing:
            if flight.future.done():
                return
            stored_HWC = flight.mean(tile, enlarged_HWC) if flight.ensemble else enlarged_HWC
            if stored_HWC is not None:
                place(flight.canvases[tile.plane], tile.window, stored_HWC, flight.upscaler.scale)
            flight.tiles_done += 1
            flight.on_progress(flight.tiles_done / flight.tiles_total)
            if flight.tiles_done == flight.tiles_total:
                flight.future.set_result(flight.canvases)

    def _lower_budget(self, upscaler: Upscaler, budget_px: int) -> None:
        weights = upscaler.manifest.weights_sha256
        with self._changed:
            self._budgets_px[weights] = min(self._budgets_px[weights], budget_px)
        logger.warning("the device's memory is full: from now on %d px a pass", self._budgets_px[weights])

    def _fail(self, flight: Flight, error: Exception) -> None:
        with self._changed:
            self._tiles.discard(flight)
        with flight.landing:
            if not flight.future.done():  # another of its tiles may have failed beside this one
                flight.future.set_exception(error)


def _waiting(
    upscaler: Upscaler, ensemble: bool, dtype: np.dtype[Any], tile: Tile
) -> tuple[Hashable, int, Tile]:
    """A tile as it stands in the queue: what may share its pass, and its size."""
    return (
        (upscaler.manifest.weights_sha256, ensemble, dtype, tile.shape),
        tile.shape[0] * tile.shape[1],
        tile,
    )


def _is_out_of_memory(error: Exception) -> bool:
    """A GPU's has a type of its own; the CPU allocator's is a RuntimeError that says so."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _as_job_error(error: Exception) -> Exception:
    """What the client will read, where the cause is known."""
    if _is_out_of_memory(error):
        return DeviceMemoryError()
    return ResultNotFiniteError() if isinstance(error, NotFiniteError) else error
