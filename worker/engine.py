"""The device's thread: forward passes over the tiles of every picture in flight.

Pictures may be submitted at any time; their tiles join the next pass, and each picture is done
as soon as its last tile is.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from sr_models.tiling import Window
from sr_models.upscaler import NotFiniteError, Upscaler, cut, place
from worker.batching import TileQueue
from worker.errors import CanceledError, DeviceMemoryError, ResultNotFiniteError
from worker.pass_budget import measured_budget_px

UInt8Array = npt.NDArray[np.uint8]

logger = logging.getLogger(__name__)


def no_progress(share: float) -> None:
    """For callers who do not watch."""


def never_canceled() -> bool:
    """For callers who do not cancel."""
    return False


@dataclass(eq=False)
class Flight:
    """One picture being enlarged."""

    upscaler: Upscaler
    planes: list[UInt8Array]
    canvases: list[UInt8Array]
    on_progress: Callable[[float], None]
    canceled: Callable[[], bool]
    tiles_total: int
    tiles_done: int = 0
    future: "Future[list[UInt8Array]]" = field(default_factory=Future)


@dataclass(frozen=True)
class Tile:
    """One window of one of a flight's planes."""

    plane: int
    window: Window


class Engine:
    """Runs forward passes on a thread of its own until it is closed."""

    def __init__(self, *, tile_px: int, batch_px: int = 0) -> None:
        """`batch_px`: LR pixels in one pass; 0 measures what is best for each model when its first picture comes."""
        self._tile_px = tile_px
        self._batch_px = batch_px
        self._budgets_px: dict[str, int] = {}
        self._tiles: TileQueue[Flight, Tile] = TileQueue()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(
        self,
        upscaler: Upscaler,
        planes: list[UInt8Array],
        on_progress: Callable[[float], None] = no_progress,
        canceled: Callable[[], bool] = never_canceled,
    ) -> "Future[list[UInt8Array]]":
        """Enlarge planes of one size, each uint8 (H, W, 3), to uint8 (scale·H, scale·W, 3).

        `on_progress` gets the share of tiles done, from the engine's thread: it must be quick.
        `canceled` is asked before each pass; the future then raises CanceledError.
        """
        height, width = planes[0].shape[:2]
        scale, manifest = upscaler.scale, upscaler.manifest
        plan = upscaler.windows(height, width, self._tile_px)
        canvases = [np.empty((height * scale, width * scale, 3), np.uint8) for _ in planes]
        flight = Flight(upscaler, planes, canvases, on_progress, canceled, len(plan) * len(planes))
        tiles = [
            ((manifest.weights_sha256, w.shape), w.shape[0] * w.shape[1], Tile(plane, w))
            for plane in range(len(planes))
            for w in plan
        ]
        with self._changed:
            if self._closed:
                raise RuntimeError("the engine is closed")
            self._tiles.add(flight, tiles)
            self._changed.notify()
        return flight.future

    def close(self) -> None:
        """Finish what was submitted, then end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._tiles or self._closed)
                if not self._tiles:
                    return
                upscaler = self._tiles.next_flight.upscaler
            budget_px = self._budget_px(upscaler)
            with self._changed:
                batch = self._tiles.next_batch(budget_px)
            live = [(flight, tile) for flight, tile in batch if self._still_wanted(flight)]
            if live:
                self._enlarge(live)

    def _budget_px(self, upscaler: Upscaler) -> int:
        """For a pass of that model. Measured here, on the one thread that uses the device, so that nothing disturbs it."""
        weights = upscaler.manifest.weights_sha256
        if weights not in self._budgets_px:
            try:
                self._budgets_px[weights] = self._batch_px or measured_budget_px(upscaler, self._tile_px)
            except Exception as error:  # its pictures will meet it too, and say it to whoever sent them
                logger.warning("%s: no pass could be measured: %s", upscaler.manifest.label, error)
                self._budgets_px[weights] = self._tile_px**2
        return self._budgets_px[weights]

    def _still_wanted(self, flight: Flight) -> bool:
        if not flight.future.done() and flight.canceled():
            self._fail(flight, CanceledError())
        return not flight.future.done()

    def _enlarge(self, batch: list[tuple[Flight, Tile]]) -> None:
        """One pass. An error in company says nothing of who caused it: each tile then runs alone.

        Where the device's memory was too small, later passes have half the pixels.
        """
        try:
            windows_NHWC = np.stack([cut(flight.planes[tile.plane], tile.window) for flight, tile in batch])
            enlarged_NHWC = batch[0][0].upscaler.enlarge(windows_NHWC)
        except Exception as error:
            if len(batch) == 1:
                logger.exception("the forward pass failed")
                self._fail(batch[0][0], _as_job_error(error))
                return
            part = 1
            if _is_out_of_memory(error):
                part = len(batch) // 2
                self._lower_budget(batch[0][0].upscaler, part * np.prod(batch[0][1].window.shape).item())
            logger.warning("a pass over %d tiles failed (%s); running %d at a time", len(batch), error, part)
            for first in range(0, len(batch), part):
                live = [each for each in batch[first : first + part] if self._still_wanted(each[0])]
                if live:
                    self._enlarge(live)
            return
        for (flight, tile), enlarged_HWC in zip(batch, enlarged_NHWC, strict=True):
            place(flight.canvases[tile.plane], tile.window, enlarged_HWC, flight.upscaler.scale)
            flight.tiles_done += 1
            flight.on_progress(flight.tiles_done / flight.tiles_total)
            if flight.tiles_done == flight.tiles_total:
                flight.future.set_result(flight.canvases)

    def _lower_budget(self, upscaler: Upscaler, budget_px: int) -> None:
        weights = upscaler.manifest.weights_sha256
        self._budgets_px[weights] = min(self._budget_px(upscaler), budget_px)
        logger.warning("the device's memory is full: from now on %d px a pass", self._budgets_px[weights])

    def _fail(self, flight: Flight, error: Exception) -> None:
        with self._changed:
            self._tiles.discard(flight)
        flight.future.set_exception(error)


def _is_out_of_memory(error: Exception) -> bool:
    """A GPU's has a type of its own; the CPU allocator's is a RuntimeError that says so."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _as_job_error(error: Exception) -> Exception:
    """What the client will read, where the cause is known."""
    if _is_out_of_memory(error):
        return DeviceMemoryError()
    return ResultNotFiniteError() if isinstance(error, NotFiniteError) else error
