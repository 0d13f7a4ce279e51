"""What a training run is: everything that decides its result, but for the photographs."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import nn

from sr_models.manifest import ColourMode, Manifest


@dataclass(frozen=True)
class PixelRecipe:
    """A run that minimises the squared error of pixels."""

    family: str
    """What users will ask for; with the scale it names the checkpoint."""
    architecture: str
    """The network's name in `sr_models.catalog`."""
    hyperparameters: Mapping[str, Any]
    """The network's constructor arguments."""
    scale: int
    """2, 3 or 4."""
    colour: ColourMode
    """What the network sees."""
    halo_px: int
    """LR pixels that a tile needs on each side."""
    steps: int
    """Updates under the first cosine, with the forward pass in bfloat16."""
    polish_steps: int
    """Updates after them under a second cosine, in float32 throughout.

    bfloat16 ends with weights that suit its own rounding: ESPCN x2 lost .05 dB on Set5 when used in float32.
    """
    patch_px: int
    """Side of an LR patch."""
    batch_size: int
    """Patches in one step."""
    detail_draws: int
    """Each patch is the most detailed of so many."""
    learning_rate: float
    """SOAP's, at the first cosine's highest."""
    polish_rate: float
    """SOAP's, at the second cosine's highest."""
    warmup_steps: int
    """Steps of linear rise at the first cosine's beginning."""
    ema_decay: float
    """Of the moving average of the weights, which is what gets released."""
    seed: int
    """Of the network's start and of every draw."""

    @property
    def name(self) -> str:
        """`<family>-x<scale>`, as the checkpoint is called."""
        return f"{self.family}-x{self.scale}"

    @property
    def all_steps(self) -> int:
        """Updates in the whole run."""
        return self.steps + self.polish_steps

    def learning_rate_at(self, step: int) -> float:
        """A linear rise over the warm-up, under the first cosine; then the second."""
        if step >= self.steps:
            return self.polish_rate * _cosine((step - self.steps) / self.polish_steps)
        return self.learning_rate * min(1.0, (step + 1) / self.warmup_steps) * _cosine(step / self.steps)

    def manifest(self, network: nn.Module) -> Manifest:
        """The manifest of a version to come: what the release fills in is still empty."""
        return Manifest(
            family=self.family,
            scale=self.scale,
            version=0,
            architecture=self.architecture,
            hyperparameters=self.hyperparameters,
            colour=self.colour,
            weights_sha256="",
            weights_bytes=0,
            receptive_radius_px=cast(int, network.receptive_radius_px),
            halo_px=self.halo_px,
            parameters=sum(p.numel() for p in network.parameters()),
            licence="",
        )


def _cosine(done: float) -> float:
    """From 1 down to 0 as `done` goes from 0 to 1."""
    return 0.5 * (1.0 + math.cos(math.pi * done))
