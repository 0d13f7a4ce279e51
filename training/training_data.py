"""What a run trains on: photographs in memory, patches of them as tensors on the device."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sr_models.pixels import luma_from_rgb
from training.dataset import (
    DatasetError,
    Pair,
    PatchSampler,
    UInt8Array,
    described,
    read_pairs,
    read_training_pairs,
    split_folders,
)
from training.recipe import Recipe
from training.scores import refuse_too_small

EXAMPLE_BATCHES = 16

log = logging.getLogger(__name__)


class TrainingData:
    """The photographs below a folder, and the batch of each step.

    What a step draws follows from the recipe's seed and the step alone. Of several processes each gets its share of the same batch.
    """

    def __init__(
        self, recipe: Recipe, folder: Path, device: torch.device, rank: int = 0, ranks: int = 1
    ) -> None:
        """Raises DatasetError for unusable photographs, and for batches that so many processes cannot share."""
        if recipe.batch_size % ranks:
            raise DatasetError(
                f"{ranks} processes cannot share batches of {recipe.batch_size}: start a number that divides it"
            )
        self._recipe, self._device = recipe, device
        self._share = slice(rank, None, ranks)
        self.folder, _ = split_folders(folder)
        pairs = read_training_pairs(self.folder, recipe.scale, recipe.degradation)
        self.described = described(self.folder, pairs)
        """How many photographs, how large, and a digest: what a manifest says of them."""
        self._sampler = PatchSampler(pairs, recipe.patch_px, recipe.detail_draws, recipe.degradation)
        if self._sampler.skipped:
            log.warning("%d photographs are too small for a patch and stay unused", self._sampler.skipped)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """A process's share of a step's LR and HR patches, as the network sees them: float32 (N, C, h, w), (N, C, H, W)."""
        lr_NCHW, hr_NCHW = self._drawn(step, self._share)
        return lr_NCHW.to(self._device), hr_NCHW.to(self._device)

    def examples(self) -> Iterator[Tensor]:
        """LR of a few batches that no step draws, in full for every process."""
        first = self._recipe.all_steps
        for step in range(first, first + EXAMPLE_BATCHES):
            yield self._drawn(step, slice(None))[0]

    def _drawn(self, step: int, share: slice) -> tuple[Tensor, Tensor]:
        generator = np.random.default_rng((self._recipe.seed, step))
        patches = self._sampler.batch(self._recipe.batch_size, generator, share)
        return self._seen(patches.lr), self._seen(patches.hr)

    def _seen(self, rgb_NHWC: UInt8Array) -> Tensor:
        samples = torch.from_numpy(rgb_NHWC).permute(0, 3, 1, 2).float().div_(255.0)
        return luma_from_rgb(samples) if self._recipe.colour == "luma" else samples


def validation_pairs(recipe: Recipe, data: Path, validate: Path | None) -> list[Pair]:
    """The pictures that the curve is drawn from: those of `validate`, or of the data's own folder for it, or none.

    Raises DatasetError for one that is too small to be scored.
    """
    folder = validate or split_folders(data)[1]
    pairs = read_pairs(folder, recipe.scale, recipe.degradation) if folder else []
    for pair in pairs:
        refuse_too_small(pair)
    return pairs
