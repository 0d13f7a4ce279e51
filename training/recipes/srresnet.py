"""SRResNet's published checkpoint."""

from training.recipe import PixelRecipe


def srresnet_x4() -> PixelRecipe:
    """The run behind `srresnet-x4`: begins as EDSR-baseline, ends with its batch norms at rest."""
    return PixelRecipe(
        family="srresnet",
        architecture="srresnet",
        hyperparameters={"scale": 4},
        scale=4,
        halo_px=24,
        start_from="edsr-baseline-x4@3",
        loss="mse",
        optimizer="adamw",
        steps=400,
        polish_steps=300,
        patch_px=48,
        batch_size=4,
        precision="float32",
        learning_rate=3e-4,
        polish_rate=1e-4,
        warmup_steps=50,
    )
