"""The published GAN, and its variants for whoever has a GPU."""

from dataclasses import replace
from typing import Any

from training.recipe import GanRecipe
from training.recipes.edsr import BASELINE

PERCEPTUAL_LAYERS = {"conv2_2": 5e-4, "conv3_3": 1e-2, "conv4_3": 1e-1}
"""VGG16's features before ReLU are of very different size: from a PSNR network's result to HR it is 20 to 60, 13 to 23 and 2.5 to 3."""


def srgan_x4() -> GanRecipe:
    """The run behind `srgan-x4`: SRResNet's generator."""
    return _gan("srgan", "srresnet", {"scale": 4}, start_from="srresnet-x4@1", steps=400)


def srgan_edsr_x4() -> GanRecipe:
    """EDSR-baseline's generator, fine-tuned in the same manner."""
    return _gan("srgan-edsr", "edsr", {"scale": 4, **BASELINE}, start_from="edsr-baseline-x4@2", steps=20_000)


def srgan_bottleneck_x4() -> GanRecipe:
    """Bottleneck blocks and a little sharpening, from scratch, against the U-Net."""
    recipe = _gan(
        "srgan-bottleneck", "srgan-bottleneck", {"scale": 4, "sharpen": 0.2}, start_from=None, steps=100_000
    )
    return replace(recipe, discriminator="unet", adversarial="relativistic", pixel_weight=1.0)


def _gan(
    family: str, architecture: str, hyperparameters: dict[str, Any], start_from: str | None, steps: int
) -> GanRecipe:
    return GanRecipe(
        family=family,
        architecture=architecture,
        hyperparameters=hyperparameters,
        scale=4,
        halo_px=24,
        start_from=start_from,
        steps=steps,
        precision="float32",
        patch_px=24,
        batch_size=8,
        learning_rate=2e-4,
        discriminator_rate=1e-4,
        warmup_steps=20,
        ema_decay=0.99,
        pixel_weight=1.0,
        consistency_weight=10.0,
        perceptual_weight=0.3,
        adversarial_weight=5e-3,
        perceptual_layers=PERCEPTUAL_LAYERS,
    )
