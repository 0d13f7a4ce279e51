"""EDSR's published checkpoints, and the large network for whoever has a GPU."""

from typing import Any, Literal

from training.recipe import PixelRecipe

BASELINE = {"blocks": 16, "features": 64, "residual_scaling": 1.0}
LARGE = {"blocks": 32, "features": 256, "residual_scaling": 0.1}


def edsr_baseline_x2() -> PixelRecipe:
    """The run behind `edsr-baseline-x2`."""
    return _baseline(
        2, start_from="edsr-baseline-x4@2", optimizer="adamw", steps=1_500, learning_rate=1e-3, detail_draws=4
    )


def edsr_baseline_x3() -> PixelRecipe:
    """The run behind `edsr-baseline-x3`."""
    return _baseline(
        3, start_from="edsr-baseline-x4@3", optimizer="adamw", steps=2_000, learning_rate=1e-3, detail_draws=4
    )


def edsr_baseline_x4() -> PixelRecipe:
    """The next run of `edsr-baseline-x4`: a fourth one, from where the third, the published one, ended."""
    return _baseline(
        4,
        start_from="edsr-baseline-x4@3",
        optimizer="adamw",
        steps=7_000,
        learning_rate=1e-3,
        detail_draws=4,
        batch_size=16,
        precision="bfloat16",
        polish_steps=100,
        polish_rate=1e-5,
    )


def edsr_baseline_x4_short() -> PixelRecipe:
    """About ten minutes on two cores, from scratch."""
    return _baseline(4, optimizer="adamw", steps=1_200, learning_rate=1e-3)


def edsr_photo_x4() -> PixelRecipe:
    """The run behind `edsr-photo-x4`: for pictures as they come from the web, blurred, noisy and compressed."""
    return _baseline(
        4,
        family="edsr-photo",
        optimizer="adamw",
        steps=1_200,
        learning_rate=5e-4,
        start_from="edsr-baseline-x4@3",
        degradation="photo",
    )


def edsr_x4() -> PixelRecipe:
    """The large network, from scratch: days on a GPU. Nothing is published of it."""
    return PixelRecipe(
        family="edsr",
        architecture="edsr",
        hyperparameters={"scale": 4, **LARGE},
        scale=4,
        halo_px=68,
        loss="l1",
        optimizer="adamw",
        steps=300_000,
        patch_px=48,
        batch_size=16,
        learning_rate=1e-4,
        warmup_steps=1_000,
        clip_norm=1.0,
    )


def _baseline(
    scale: int,
    family: str = "edsr-baseline",
    optimizer: Literal["muon", "adamw"] = "muon",
    batch_size: int = 8,
    precision: Literal["bfloat16", "float32"] = "float32",
    **fields: Any,
) -> PixelRecipe:
    return PixelRecipe(
        family=family,
        architecture="edsr",
        hyperparameters={"scale": scale, **BASELINE},
        scale=scale,
        halo_px=20,
        loss="l1",
        optimizer=optimizer,
        batch_size=batch_size,
        precision=precision,
        warmup_steps=50,
        **fields,
    )
