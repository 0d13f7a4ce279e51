"""What a run trains on: photographs in memory, patches of them as tensors on the device."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sr_models.pixels import luma_from_rgb
from training.dataset import Pair, PatchSampler, UInt8Array, described, read_pairs
from training.recipe import Recipe

EXAMPLE_BATCHES = 16

log = logging.getLogger(__name__)


class TrainingData:
    """The photographs below a folder, and the batch of each step.

    What a step draws follows from the recipe's seed and the step alone. Of several processes each gets its share of the same batch.
    """

    def __init__(
        self, recipe: Recipe, folder: Path, device: torch.device, rank: int = 0, ranks: int = 1
    ) -> None:
        """Raises training.dataset.DatasetError for unusable photographs."""
        self._recipe, self._device, self._rank, self._ranks = recipe, device, rank, ranks
        pairs = read_pairs(folder, recipe.scale)
        self.described = described(folder, pairs)
        """How many photographs, how large, and a digest: what a manifest says of them."""
        self._sampler = PatchSampler(pairs, recipe.patch_px, recipe.detail_draws)
        if self._sampler.skipped:
            log.warning("%d photographs are too small for a patch and stay unused", self._sampler.skipped)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """A process's share of a step's LR and HR patches, as the network sees them: float32 (N, C, h, w), (N, C, H, W)."""
        patches = self._sampler.batch(
            self._recipe.batch_size, np.random.default_rng((self._recipe.seed, step))
        )
        mine = slice(self._rank, None, self._ranks)
        return self._seen(patches.lr[mine]), self._seen(patches.hr[mine])

    def examples(self) -> Iterator[Tensor]:
        """LR of a few batches that no step draws, in full for every process."""
        for step in range(self._recipe.all_steps, self._recipe.all_steps + EXAMPLE_BATCHES):
            patches = self._sampler.batch(
                self._recipe.batch_size, np.random.default_rng((self._recipe.seed, step))
            )
            yield self._seen(patches.lr).cpu()

    def _seen(self, rgb_NHWC: UInt8Array) -> Tensor:
        samples = torch.from_numpy(rgb_NHWC).to(self._device).permute(0, 3, 1, 2).float().div_(255.0)
        return luma_from_rgb(samples) if self._recipe.colour == "luma" else samples


def validation_pairs(folder: Path | None, scale: int) -> list[Pair]:
    """The pictures that the curve is drawn from; none where no folder is given."""
    return read_pairs(folder, scale) if folder else []
