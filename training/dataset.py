"""Photographs in memory, each with its LR.

They stay uint8 (H, W, 3) for the whole run: 360 megapixels are 1 GB.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.dataset_folder import given_lr_paths, picture_paths, refuse_benchmarks, split_folders
from training.degradation import DEGRADATIONS
from training.patches import PatchBatch, PatchSampler
from training.photograph import DatasetError, Pair, UInt8Array, cropped_to_multiple, printable, read_rgb

__all__ = [
    "DatasetError",
    "Pair",
    "PatchBatch",
    "PatchSampler",
    "UInt8Array",
    "cropped_to_multiple",
    "described",
    "picture_paths",
    "read_pairs",
    "read_rgb",
    "read_training_pairs",
    "split_folders",
]


def read_pairs(folder: Path, scale: int, degradation: str = "bicubic") -> list[Pair]:
    """Each HR photograph of the dataset with an LR made from it, in the order of their paths.

    `degradation`: a name in `training.degradation`; a random one draws by the file's name, so that a picture always gets the same
    LR. LR that the dataset holds is not looked at: that is how the benchmarks are defined.
    Raises DatasetError if there are none, or if one cannot be read.
    """
    return [_made_pair(path, scale, degradation) for path in picture_paths(folder)]


def read_training_pairs(folder: Path, scale: int, degradation: str = "bicubic") -> list[Pair]:
    """Each photograph to train on, with its LR: the given one where the dataset holds it and `degradation` is bicubic.

    For a random degradation, LR is bicubic: `PatchSampler` makes each patch's anew.
    Raises DatasetError as `read_pairs` does, for LR that does not match HR, and for a benchmark set.
    """
    refuse_benchmarks(folder, picture_paths(folder))
    given = given_lr_paths(folder, scale) if degradation == "bicubic" else None
    if given is not None:
        return [_given_pair(hr_path, lr_path, scale) for hr_path, lr_path in given]
    return read_pairs(folder, scale, "bicubic" if DEGRADATIONS[degradation].random else degradation)


def described(folder: Path, pairs: Sequence[Pair]) -> dict[str, Any]:
    """What a manifest says of the photographs: how many, how large, and a digest of their names, HR and given LR samples."""
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update(pair.name.encode())
        digest.update(pair.hr.data)
        if pair.lr_given:
            digest.update(pair.lr.data)
    return {
        "folder": printable(folder.resolve().name),
        "photographs": len(pairs),
        "megapixels": round(sum(pair.hr.size for pair in pairs) / 3e6, 1),
        "sha256": digest.hexdigest(),
    }


def _made_pair(path: Path, scale: int, degradation: str) -> Pair:
    hr = _hr(path, scale)
    name = printable(path.name)
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest())
    return Pair(name, DEGRADATIONS[degradation](hr, scale, np.random.default_rng(seed)), hr)


def _given_pair(hr_path: Path, lr_path: Path, scale: int) -> Pair:
    hr, lr = _hr(hr_path, scale), read_rgb(lr_path)
    height, width = hr.shape[0] // scale, hr.shape[1] // scale
    if lr.shape[:2] != (height, width):
        raise DatasetError(
            f"{lr_path} has {lr.shape[1]}x{lr.shape[0]} px, but its HR {hr_path} has {hr.shape[1]}x{hr.shape[0]}, which "
            f"makes {width}x{height} at scale {scale}; give LR of that size, or take the LR away to have it made"
        )
    return Pair(printable(hr_path.name), lr, hr, lr_given=True)


def _hr(path: Path, scale: int) -> UInt8Array:
    hr = np.ascontiguousarray(cropped_to_multiple(read_rgb(path), scale))
    if not hr.size:
        raise DatasetError(f"{path} is smaller than {scale} px: too small for scale {scale}")
    return hr
