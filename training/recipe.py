"""What a training run is: everything that decides its result, but for the photographs.

A published checkpoint's run is one function in `training/recipes/` that returns one of these.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from torch import nn

from sr_models.manifest import ColourMode, DegradationName, Manifest


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What every run has."""

    family: str
    """What users will ask for; with the scale it names the checkpoint."""
    architecture: str
    """The network's name in `sr_models.catalog`."""
    hyperparameters: Mapping[str, Any]
    """The network's constructor arguments."""
    scale: int
    """2, 3 or 4."""
    colour: ColourMode = "rgb"
    """What the network sees."""
    halo_px: int
    """LR pixels that a tile needs on each side."""
    start_from: str | None = None
    """The published version whose weights the run begins with, as `<family>-x<scale>@<version>`; None: from scratch."""
    degradation: DegradationName = "bicubic"
    """How LR is made from HR."""
    steps: int
    """Updates under the first cosine."""
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    """Of the forward pass under the first cosine; weights, gradients and loss are always float32.

    bfloat16 halves a step on a CPU with AMX and on a GPU. On one with AVX-512 only, float32 is faster for networks
    with 64 features: a 3x3 convolution there and back took 16 ms against 22 ms (16 patches of 32x32, two cores).
    """
    patch_px: int = 32
    """Side of an LR patch."""
    batch_size: int
    """Patches in one step, over all devices."""
    detail_draws: int = 8
    """Each patch is the most detailed of so many."""
    learning_rate: float
    """The first cosine's highest."""
    warmup_steps: int
    """Steps of linear rise at the first cosine's beginning."""
    clip_norm: float | None = None
    """The gradient's longest length; None leaves it as it is."""
    ema_decay: float = 0.999
    """Of the moving average of the weights, which is what gets released."""
    seed: int = 0
    """Of the network's start and of every draw."""

    @property
    def name(self) -> str:
        """`<family>-x<scale>`, as the checkpoint is called."""
        return f"{self.family}-x{self.scale}"

    @property
    def all_steps(self) -> int:
        """Updates in the whole run."""
        return self.steps

    def learning_rate_at(self, step: int) -> float:
        """A linear rise over the warm-up, under one cosine."""
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


@dataclass(frozen=True, kw_only=True)
class PixelRecipe(Recipe):
    """A run that minimises a distance between pixels."""

    loss: Literal["mse", "l1", "charbonnier"]
    """The distance."""
    optimizer: Literal["soap", "muon", "adamw"]
    """What gets furthest in equal time: SOAP for networks as small as ESPCN, AdamW for larger ones (docs/decisions/0003, 0005)."""
    polish_steps: int = 0
    """Updates after the first cosine, under a second: in float32 throughout, with batch norms at rest.

    bfloat16 ends with weights that suit its own rounding: ESPCN x2 lost .05 dB on Set5 when used in float32.
    """
    polish_rate: float = 0.0
    """The second cosine's highest."""

    @property
    def all_steps(self) -> int:
        """Updates in the whole run."""
        return self.steps + self.polish_steps

    def learning_rate_at(self, step: int) -> float:
        """The first cosine, then the second."""
        if step >= self.steps:
            return self.polish_rate * _cosine((step - self.steps) / self.polish_steps)
        return super().learning_rate_at(step)


@dataclass(frozen=True, kw_only=True)
class GanRecipe(Recipe):
    """A run whose generator also has to convince a discriminator.

    The generator's loss is the sum of its parts times their weights.
    """

    pixel_weight: float
    """Of the L1 distance between SR and HR."""
    consistency_weight: float
    """Of the L1 distance between LR and SR made small again by bicubic: invented detail has to be compatible with the input."""
    perceptual_weight: float
    """Of the L1 distance between SR's and HR's features, which a network trained to recognise things computes."""
    adversarial_weight: float
    """Of the discriminator's opinion."""
    perceptual_network: Literal["vgg16", "vgg19"] = "vgg16"
    """Whose features: see `training.perceptual`."""
    perceptual_layers: Mapping[str, float] = field(default_factory=dict)
    """The features, by layer, and the weight of each."""
    discriminator: Literal["srgan", "unet"] = "srgan"
    """The SRGAN paper's, or a U-Net with spectral norm."""
    adversarial: Literal["bce", "relativistic"] = "bce"
    """Binary cross entropy on each picture alone, or relative to the mean of the others (ESRGAN)."""
    discriminator_rate: float
    """The discriminator's learning rate at its highest."""


def recipe_from(fields: Mapping[str, Any]) -> PixelRecipe | GanRecipe:
    """The recipe whose `dataclasses.asdict` was kept. Raises TypeError for anything else."""
    return GanRecipe(**fields) if "adversarial_weight" in fields else PixelRecipe(**fields)


def _cosine(done: float) -> float:
    """From 1 down to 0 as `done` goes from 0 to 1."""
    return 0.5 * (1.0 + math.cos(math.pi * done))
