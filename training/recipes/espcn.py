"""ESPCN's published checkpoints."""

from dataclasses import replace

from training.recipe import PixelRecipe


def espcn_x2() -> PixelRecipe:
    """The run behind `espcn-x2`."""
    return _espcn(2, steps=70_000)


def espcn_x3() -> PixelRecipe:
    """The run behind `espcn-x3`."""
    return _espcn(3, steps=55_000)


def espcn_x4() -> PixelRecipe:
    """The run behind `espcn-x4`."""
    return _espcn(4, steps=50_000)


def espcn_x3_short() -> PixelRecipe:
    """A few minutes on a CPU, to see the whole path from photographs to the service."""
    return replace(_espcn(3, steps=2_500), polish_steps=500)


def _espcn(scale: int, steps: int) -> PixelRecipe:
    return PixelRecipe(
        family="espcn",
        architecture="espcn",
        hyperparameters={"scale": scale},
        scale=scale,
        colour="luma",
        halo_px=4,
        loss="mse",
        optimizer="soap",
        steps=steps,
        polish_steps=5_000,
        batch_size=16,
        learning_rate=2e-3,
        polish_rate=1e-4,
        warmup_steps=100,
    )
