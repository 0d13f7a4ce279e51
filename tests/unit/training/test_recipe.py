import json
from dataclasses import asdict, replace

import pytest

from sr_models.catalog import build
from tests.unit.training.conftest import tiny_recipe
from training.recipe import GanRecipe, PixelRecipe, recipe_from
from training.recipes.catalog import RECIPES, recipe_name


def test_the_learning_rate_rises_then_falls_to_nothing_twice() -> None:
    recipe = replace(
        tiny_recipe(), steps=100, polish_steps=50, warmup_steps=10, learning_rate=1.0, polish_rate=0.25
    )
    rates = [recipe.learning_rate_at(step) for step in range(100)]
    polish = [recipe.learning_rate_at(step) for step in range(100, recipe.all_steps)]
    assert len(polish) == 50
    assert polish[0] == 0.25
    assert polish == sorted(polish, reverse=True)
    assert 0.0 < polish[-1] < 1e-3
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9]
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert 0.0 < rates[-1] < 1e-3


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_describes_its_checkpoint(name: str) -> None:
    recipe = RECIPES[name]()
    network = build(recipe.architecture, recipe.hyperparameters)
    manifest = recipe.manifest(network)
    assert recipe.name == manifest.name == name.removesuffix("-short")
    assert manifest.halo_px <= manifest.receptive_radius_px
    assert manifest.parameters == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_survives_the_manifest(name: str) -> None:
    recipe = RECIPES[name]()
    again = recipe_from(json.loads(json.dumps(asdict(recipe))))
    assert again == recipe
    assert isinstance(again, GanRecipe) == name.startswith("srgan")


def test_a_recipe_is_called_as_run_calls_it() -> None:
    assert all(recipe_name(make()) == name for name, make in RECIPES.items())
    assert recipe_name(replace(RECIPES["espcn-x3-short"](), seed=9)) == "espcn-x3"


def test_the_large_edsr_is_the_paper_s() -> None:
    network = build("edsr", RECIPES["edsr-x4"]().hyperparameters)
    assert sum(p.numel() for p in network.parameters()) == 43_089_923


def test_a_misspelt_recipe_is_refused() -> None:
    fields = asdict(tiny_recipe()) | {"learning_ratte": 1.0}
    with pytest.raises(TypeError, match="learning_ratte"):
        recipe_from(fields)
    assert isinstance(recipe_from(asdict(tiny_recipe())), PixelRecipe)
