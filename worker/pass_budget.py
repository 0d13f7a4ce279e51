"""How many pixels share a forward pass: measured for each model on its device.

More tiles in a pass cost less each, until the device is full; they also let others wait longer. A pass of n tiles takes about a·n + b
seconds: what counts is how large b is, and that differs by network and device. ESPCN on two cores gains from four tiles; one of
EDSR-baseline keeps them busy for a quarter of a second.
"""

import logging
import time
from collections.abc import Callable

import numpy as np

from sr_models.upscaler import Upscaler

logger = logging.getLogger(__name__)

WORTHWHILE = 1.05
"""A pass is doubled where that makes it so much faster per pixel."""

LONGEST_S = 0.25
"""No pass is made longer than this by sharing: it is what a new picture waits for first."""

MOST_TILES = 256
"""In one pass, whatever the device."""


def measured_budget_px(
    upscaler: Upscaler, tile_px: int, clock: Callable[[], float] = time.perf_counter
) -> int:
    """LR pixels for a pass of the model over tiles of that side, at least one tile.

    Raises what the network raises where not even one tile fits.
    """
    tiles, pass_s = 1, _seconds(upscaler, 1, tile_px, clock)
    while tiles < MOST_TILES and pass_s < LONGEST_S:
        try:
            doubled_s = _seconds(upscaler, 2 * tiles, tile_px, clock)
        except (RuntimeError, MemoryError) as error:  # the device is full
            logger.warning("%d tiles of %d px are too many: %s", 2 * tiles, tile_px, error)
            break
        if doubled_s > LONGEST_S or doubled_s * WORTHWHILE > 2 * pass_s:
            break
        tiles, pass_s = 2 * tiles, doubled_s
    logger.info("%s: %d tiles of %d px a pass", upscaler.manifest.label, tiles, tile_px)
    return tiles * tile_px**2


def _seconds(upscaler: Upscaler, tiles: int, tile_px: int, clock: Callable[[], float]) -> float:
    """The faster of two passes: what others do to the machine only ever slows one down."""
    windows_NHWC = np.zeros((tiles, tile_px, tile_px, 3), np.uint8)
    times = []
    for _ in range(2):
        started = clock()
        upscaler.enlarge(windows_NHWC)
        times.append(clock() - started)
    return min(times)
