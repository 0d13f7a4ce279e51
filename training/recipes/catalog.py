"""The recipes that `python -m training run` knows: a written-out table."""

from collections.abc import Callable, Mapping

from training.recipe import GanRecipe, PixelRecipe, Recipe
from training.recipes.edsr import (
    edsr_baseline_x2,
    edsr_baseline_x3,
    edsr_baseline_x4,
    edsr_baseline_x4_short,
    edsr_photo_x4,
    edsr_x4,
)
from training.recipes.espcn import espcn_x2, espcn_x3, espcn_x3_short, espcn_x4
from training.recipes.srgan import srgan_bottleneck_x4, srgan_edsr_x4, srgan_x4
from training.recipes.srresnet import srresnet_x4

RECIPES: Mapping[str, Callable[[], PixelRecipe | GanRecipe]] = {
    "edsr-baseline-x2": edsr_baseline_x2,
    "edsr-baseline-x3": edsr_baseline_x3,
    "edsr-baseline-x4": edsr_baseline_x4,
    "edsr-baseline-x4-short": edsr_baseline_x4_short,
    "edsr-photo-x4": edsr_photo_x4,
    "edsr-x4": edsr_x4,
    "espcn-x2": espcn_x2,
    "espcn-x3": espcn_x3,
    "espcn-x3-short": espcn_x3_short,
    "espcn-x4": espcn_x4,
    "srgan-bottleneck-x4": srgan_bottleneck_x4,
    "srgan-edsr-x4": srgan_edsr_x4,
    "srgan-x4": srgan_x4,
    "srresnet-x4": srresnet_x4,
}


def recipe_name(recipe: Recipe) -> str:
    """What `run` calls the recipe; where it is none of the table's, as one changed since or started from elsewhere, its checkpoint's name."""
    return next((name for name, make in RECIPES.items() if make() == recipe), recipe.name)
