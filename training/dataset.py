"""Photographs in memory and the patches that a step trains on.

Photographs stay uint8 (H, W, 3) for the whole run: 360 megapixels are 1 GB. Every patch is cut,
flipped and turned from them on demand, from one seeded generator, so that a run can be
repeated and resumed exactly.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from training.degradation import matlab_bicubic

UInt8Array = npt.NDArray[np.uint8]

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})

DETAIL_STRIDE_PX = 8
"""LR pixels between the places at which a patch may start, before jitter."""


class DatasetError(ValueError):
    """The folder holds no usable photographs: give one with PNG or JPEG files."""


@dataclass(frozen=True)
class Pair:
    """One photograph: LR (h, w, 3) and HR (scale·h, scale·w, 3), uint8 RGB."""

    name: str
    lr: UInt8Array
    hr: UInt8Array


@dataclass(frozen=True)
class PatchBatch:
    """LR (N, p, p, 3) and HR (N, scale·p, scale·p, 3), uint8 RGB."""

    lr: UInt8Array
    hr: UInt8Array


def picture_paths(folder: Path) -> list[Path]:
    """All pictures below the folder, in the order of their paths.

    Raises DatasetError if there are none.
    """
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
    if not paths:
        raise DatasetError(f"{folder} holds no pictures ({', '.join(sorted(PICTURE_SUFFIXES))})")
    return paths


def read_rgb(path: Path) -> UInt8Array:
    """The picture as uint8 (H, W, 3). Raises DatasetError if it cannot be read."""
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise DatasetError(f"{path} cannot be read as a picture: {error}") from error


def cropped_to_multiple(picture_HWC: UInt8Array, scale: int) -> UInt8Array:
    """The top left part whose sides are multiples of the scale."""
    height, width = picture_HWC.shape[:2]
    return picture_HWC[: height - height % scale, : width - width % scale]


def read_pairs(folder: Path, scale: int) -> list[Pair]:
    """Each photograph below the folder with its MATLAB-bicubic LR, in the order of their paths.

    Raises DatasetError if there are none, or if one cannot be read.
    """
    return [_read_pair(path, scale) for path in picture_paths(folder)]


def _read_pair(path: Path, scale: int) -> Pair:
    hr = np.ascontiguousarray(cropped_to_multiple(read_rgb(path), scale))
    if not hr.size:
        raise DatasetError(f"{path} is smaller than {scale} px: too small for scale {scale}")
    return Pair(path.name, matlab_bicubic(hr, scale), hr)


def described(folder: Path, pairs: Sequence[Pair]) -> dict[str, Any]:
    """What a manifest says of the photographs: how many, how large, and a digest of their names and HR samples."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(pair.name.encode())
        digest.update(pair.hr.data)
    return {
        "folder": folder.resolve().name,
        "photographs": len(pairs),
        "megapixels": round(sum(pair.hr.size for pair in pairs) / 3e6, 1),
        "sha256": digest.hexdigest(),
    }


class PatchSampler:
    """Draws aligned patches, preferring detail.

    Each patch is the most detailed of `detail_draws` places drawn uniformly over all
    pixels: photographs have large soft areas that teach nothing. Measured for
    EDSR-baseline x4, ten minutes on two cores: Set5 +0.4 dB over uniform drawing.
    """

    def __init__(self, pairs: Sequence[Pair], patch_px: int, detail_draws: int) -> None:
        self._pairs = [p for p in pairs if min(p.lr.shape[:2]) >= patch_px + DETAIL_STRIDE_PX]
        self.skipped = len(pairs) - len(self._pairs)
        """Photographs that are too small for a patch."""
        if not self._pairs:
            raise DatasetError(
                f"no photograph is large enough for an LR patch of {patch_px} px; "
                "use larger photographs or a smaller patch"
            )
        self._patch_px = patch_px
        self._detail_draws = detail_draws
        self._scale = pairs[0].hr.shape[0] // pairs[0].lr.shape[0]
        places = [self._places_of(i, p) for i, p in enumerate(self._pairs)]
        self._places = np.concatenate([place for place, _ in places])
        self._detail = np.concatenate([detail for _, detail in places])

    def _places_of(self, index: int, pair: Pair) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """(photograph, row, column) of each place a patch may start, and the detail there."""
        grey = pair.lr.astype(np.float32).mean(axis=2)
        gradient = np.zeros_like(grey)
        gradient[:, 1:] += np.abs(np.diff(grey, axis=1))
        gradient[1:, :] += np.abs(np.diff(grey, axis=0))
        summed = np.pad(gradient.cumsum(0, dtype=np.float64).cumsum(1), ((1, 0), (1, 0)))
        size = self._patch_px
        last_row, last_column = grey.shape[0] - size, grey.shape[1] - size
        grid = np.meshgrid(
            np.arange(0, last_row - DETAIL_STRIDE_PX + 1, DETAIL_STRIDE_PX),
            np.arange(0, last_column - DETAIL_STRIDE_PX + 1, DETAIL_STRIDE_PX),
            indexing="ij",
        )
        rows, columns = (axis.ravel() for axis in grid)
        detail = (
            summed[rows + size, columns + size]
            - summed[rows, columns + size]
            - summed[rows + size, columns]
            + summed[rows, columns]
        )
        places = np.stack([np.full_like(rows, index), rows, columns], axis=1).astype(np.int32)
        return places, detail.astype(np.float32)

    def batch(self, size: int, generator: np.random.Generator) -> PatchBatch:
        """`size` patches, each flipped and turned at random."""
        drawn = generator.integers(len(self._places), size=(size, self._detail_draws))
        best = drawn[np.arange(size), self._detail[drawn].argmax(axis=1)]
        jitter = generator.integers(DETAIL_STRIDE_PX, size=(size, 2))
        turns = generator.integers(8, size=size)
        lr_patches, hr_patches = [], []
        for place, (down, right), turn in zip(self._places[best], jitter, turns, strict=True):
            pair = self._pairs[place[0]]
            row, column = int(place[1] + down), int(place[2] + right)
            lr_patches.append(_turned(_square(pair.lr, row, column, self._patch_px), int(turn)))
            s = self._scale
            hr_patches.append(_turned(_square(pair.hr, row * s, column * s, self._patch_px * s), int(turn)))
        return PatchBatch(np.stack(lr_patches), np.stack(hr_patches))


def _square(picture_HWC: UInt8Array, row: int, column: int, side: int) -> UInt8Array:
    return picture_HWC[row : row + side, column : column + side]


def _turned(patch_HWC: UInt8Array, turn: int) -> UInt8Array:
    """One of the eight symmetries of the square: turn % 4 quarter turns, then a flip from 4 on."""
    turned = np.rot90(patch_HWC, turn % 4)
    return turned[:, ::-1] if turn >= 4 else turned
