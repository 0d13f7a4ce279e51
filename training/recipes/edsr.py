"""EDSR's published checkpoints, and the large network for whoever has a GPU."""

from typing import Any

from training.recipe import PixelRecipe

BASELINE = {"blocks": 16, "features": 64, "residual_scaling": 1.0}
LARGE = {"blocks": 32, "features": 256, "residual_scaling": 0.1}


def edsr_baseline_x2() -> PixelRecipe:
    """The run behind `edsr-baseline-x2`."""
    return _baseline(2, steps=5_000, learning_rate=2e-3)


def _baseline(scale: int, **fields: Any) -> PixelRecipe:
    return PixelRecipe(
        family="edsr-baseline",
        architecture="edsr",
        hyperparameters={"scale": scale, **BASELINE},
        scale=scale,
        halo_px=20,
        loss="l1",
        optimizer="muon",
        batch_size=8,
        precision="float32",
        warmup_steps=50,
        **fields,
    )
