"""How much of its surroundings a tile needs: measured, since a network hardly looks at most of what it could see.

Legend: H height, W width, C channel; pictures are uint8 RGB.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sr_models.tiling import Span, Window
from sr_models.upscaler import Upscaler, cut, place
from training.dataset import read_pairs
from training.evaluate import present_benchmarks

UInt8Array = npt.NDArray[np.uint8]

NARROW_RADIUS_PX = 8
"""Networks that see no further get their whole radius: there is little to save."""
STEP_PX = 4
"""Halos are tried in multiples of it."""
PICTURES = 20
"""From each benchmark set, the first ones, and of each its middle: 19 s for EDSR-baseline x2 on one core."""
CROP_MARGIN_PX = 12
"""A crop reaches further than the receptive radius from the cut, so that its own border changes nothing there."""


def halo_px(upscaler: Upscaler, benchmarks: Path) -> int:
    """The halo that a version's manifest is to state, in LR pixels. Raises DatasetError if no benchmark set is there."""
    radius_px = upscaler.manifest.receptive_radius_px
    if radius_px <= NARROW_RADIUS_PX:
        return radius_px
    pictures = []
    for benchmark in present_benchmarks(benchmarks):
        pictures += [pair.lr for pair in read_pairs(benchmarks / benchmark, upscaler.scale)[:PICTURES]]
    return measured_halo_px(upscaler, pictures)


def measured_halo_px(upscaler: Upscaler, pictures: Sequence[UInt8Array]) -> int:
    """The smallest halo with which no sample moves by more than one 8-bit level, in LR pixels; at most the receptive radius.

    Each picture (H, W, 3) is cut into four at its middle; the four with a halo are compared with the whole. A picture
    that lies within the halo anyway shows nothing; if all do, the answer is the receptive radius.
    """
    radius_px = upscaler.manifest.receptive_radius_px
    crops = [_middle(picture, 2 * (radius_px + CROP_MARGIN_PX)) for picture in pictures]
    wholes = [upscaler.enlarge(crop[None])[0] for crop in crops]
    for halo in range(STEP_PX, radius_px, STEP_PX):
        telling = [pair for pair in zip(crops, wholes, strict=True) if min(pair[0].shape[:2]) > 2 * halo + 1]
        if telling and all(_largest_change(upscaler, crop, whole, halo) <= 1 for crop, whole in telling):
            return halo
    return radius_px


def _middle(picture_HWC: UInt8Array, side_px: int) -> UInt8Array:
    top, left = (max(0, (size - side_px) // 2) for size in picture_HWC.shape[:2])
    return picture_HWC[top : top + side_px, left : left + side_px]


def _largest_change(upscaler: Upscaler, crop_HWC: UInt8Array, whole_HWC: UInt8Array, halo: int) -> int:
    """In 8-bit levels, between the picture made from four parts and the one made at once."""
    canvas = np.empty_like(whole_HWC)
    height, width = crop_HWC.shape[:2]
    for rows in _halves(height, halo):
        for columns in _halves(width, halo):
            window = Window(rows, columns)
            place(canvas, window, upscaler.enlarge(cut(crop_HWC, window)[None])[0], upscaler.scale)
    return int(np.abs(canvas.astype(np.int16) - whole_HWC).max())


def _halves(size_px: int, halo: int) -> tuple[Span, Span]:
    middle = size_px // 2
    return (
        Span(0, min(size_px, middle + halo), 0, middle),
        Span(max(0, middle - halo), size_px, middle, size_px),
    )
