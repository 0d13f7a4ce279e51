"""A network as a version holds it: weights of half the size where that costs nothing, with the halo and the scores of these very weights."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from sr_models.batch_norm import fold_batch_norms
from sr_models.manifest import DegradationName, Manifest
from sr_models.upscaler import Upscaler
from training.dataset import read_pairs
from training.evaluate import present_benchmarks, score, score_all
from training.halo import halo_px

FLOAT16_COST_DB = 0.01
"""Weights are stored as float16 where no set's luma PSNR moves by so much."""


@dataclass(frozen=True)
class StoredForm:
    """A network as users will get it."""

    network: nn.Module
    dtype: torch.dtype | None
    """What its weights are stored as; None as they are."""
    manifest: Manifest
    """With the halo and the scores of these very weights."""


def as_stored(
    manifest: Manifest, network: nn.Module, benchmarks: Path, degradations: Sequence[DegradationName]
) -> StoredForm:
    """With weights of half the size, unless a score moves by that."""
    rounded = _rounded(network)
    if manifest.parameters and all(p.isfinite().all() for p in rounded.parameters()):
        measured = _measured(manifest, rounded, benchmarks, degradations)
        exact_dbs = psnr_dbs(measured, network, benchmarks, degradations)
        if all(_close(s.psnr_db, exact_db) for s, exact_db in zip(measured.scores, exact_dbs, strict=True)):
            return StoredForm(rounded, torch.float16, measured)
    return StoredForm(network, None, _measured(manifest, network, benchmarks, degradations))


@torch.no_grad()
def _rounded(network: nn.Module) -> nn.Module:
    """The network with trained weights that float16 holds exactly; `sr_models.checkpoint.write` stores no others as such."""
    rounded = copy.deepcopy(network)
    for parameter in rounded.parameters():
        parameter.copy_(parameter.half())
    return rounded


def _close(a_db: float, b_db: float) -> bool:
    return abs(a_db - b_db) < FLOAT16_COST_DB


def _measured(
    manifest: Manifest, network: nn.Module, benchmarks: Path, degradations: Sequence[DegradationName]
) -> Manifest:
    """The manifest with halo and scores."""
    network = fold_batch_norms(network)
    manifest = replace(manifest, halo_px=halo_px(Upscaler(network, manifest), benchmarks))
    upscaler = Upscaler(network, manifest)
    scores = [score for way in degradations for score in score_all(upscaler, benchmarks, way)]
    return replace(manifest, scores=tuple(scores))


def psnr_dbs(
    manifest: Manifest, network: nn.Module, benchmarks: Path, degradations: Sequence[DegradationName]
) -> list[float]:
    """The luma PSNR of each of `_measured`'s scores, without what takes more time."""
    upscaler = Upscaler(fold_batch_norms(network), manifest)
    return [
        score(upscaler, read_pairs(benchmarks / benchmark, manifest.scale, way), benchmark, way).psnr_db
        for way in degradations
        for benchmark in present_benchmarks(benchmarks)
    ]
