from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sr_models.catalog import build
from sr_models.checkpoint import write
from sr_models.manifest import MANIFEST_FILE, CheckpointFolder
from tests.unit.training.conftest import tiny_recipe
from training.beginning import BeginningError, beginning
from training.recipe import PixelRecipe


def recipe(architecture: str, scale: int, start_from: str | None = None, **sizes: int) -> PixelRecipe:
    return replace(
        tiny_recipe(scale=scale),
        family=architecture,
        architecture=architecture,
        hyperparameters={"scale": scale, **sizes},
        colour="rgb",
        start_from=start_from,
    )


def published(folder: Path, of: PixelRecipe) -> nn.Module:
    """Version 1 of the recipe's checkpoint, with random weights everywhere."""
    torch.manual_seed(7)
    network = build(of.architecture, of.hyperparameters)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05)
    place = folder / of.name / "1"
    place.mkdir(parents=True)
    sha256, size_bytes = write(place, network)
    manifest = replace(of.manifest(network), version=1, weights_sha256=sha256, weights_bytes=size_bytes)
    (place / MANIFEST_FILE).write_text(manifest.to_json(), "utf-8")
    return network.eval()


def no_examples() -> Any:
    raise AssertionError("nobody should ask for examples")


def examples() -> list[torch.Tensor]:
    return [torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(s)) for s in range(3)]


def test_a_fresh_network_depends_on_the_seed_alone(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    first, again = (beginning(tiny_recipe(), folder, no_examples).state_dict() for _ in range(2))
    other = beginning(replace(tiny_recipe(), seed=2), folder, no_examples).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["features.weight"], other["features.weight"])


def test_x4_starts_from_x2_but_for_what_enlarges(tmp_path: Path) -> None:
    earlier = published(tmp_path, recipe("edsr", 2, blocks=2, features=8)).state_dict()
    start = recipe("edsr", 4, "edsr-x2@1", blocks=2, features=8)
    network = beginning(start, CheckpointFolder(tmp_path), examples).state_dict()
    for name in network:
        if name.startswith(("head.", "blocks.", "body_end.", "tail.")):
            assert torch.equal(network[name], earlier[name]), name
    assert network["enlarge.1.0.weight"].shape == (32, 8, 3, 3)


def test_x3_has_another_sub_pixel_layer(tmp_path: Path) -> None:
    published(tmp_path, recipe("edsr", 2, blocks=2, features=8))
    start = recipe("edsr", 3, "edsr-x2@1", blocks=2, features=8)
    network = beginning(start, CheckpointFolder(tmp_path), examples)
    assert network.state_dict()["enlarge.0.0.weight"].shape == (72, 8, 3, 3)


def test_any_network_starts_from_its_own_weights_whatever_else_lies_there(tmp_path: Path) -> None:
    earlier = published(tmp_path, recipe("espcn", 2)).state_dict()
    (tmp_path / "broken-x2" / "1").mkdir(parents=True)
    (tmp_path / "broken-x2" / "1" / MANIFEST_FILE).write_text("{", "utf-8")
    network = beginning(
        recipe("espcn", 4, "espcn-x2@1"), CheckpointFolder(tmp_path), no_examples
    ).state_dict()
    assert torch.equal(network["features.weight"], earlier["features.weight"])


def test_a_srresnet_starts_as_an_edsr(tmp_path: Path) -> None:
    teacher = published(tmp_path, recipe("edsr", 2, blocks=2, features=8))
    start = recipe("srresnet", 2, "edsr-x2@1", blocks=2, features=8)
    network = beginning(start, CheckpointFolder(tmp_path), examples)
    x = examples()[0]
    with torch.inference_mode():
        taught, at_rest, in_training = teacher(x), network.eval()(x), network.train()(x)
    bicubic = teacher.bicubic(x)  # type: ignore[operator]
    torch.testing.assert_close(at_rest - bicubic, torch.tanh(taught - bicubic), atol=1e-4, rtol=0)
    off = (in_training - at_rest).abs().mean() / (taught - bicubic).abs().mean()
    assert off < 0.2


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (recipe("edsr", 4, "edsr-x2@9", blocks=2, features=8), "edsr-x2@9, which is not published"),
        (recipe("edsr", 4, "edsr-x2@1", blocks=2, features=12), "another size"),
        (recipe("espcn", 2, "edsr-x2@1"), "a ESPCN cannot start from edsr-x2@1, which is a EDSR"),
    ],
)
def test_what_cannot_be_started_from(tmp_path: Path, start: PixelRecipe, message: str) -> None:
    published(tmp_path, recipe("edsr", 2, blocks=2, features=8))
    with pytest.raises(BeginningError, match=message):
        beginning(start, CheckpointFolder(tmp_path), no_examples)


def test_damaged_weights_are_not_started_from(tmp_path: Path) -> None:
    published(tmp_path, recipe("edsr", 2, blocks=2, features=8))
    weights = tmp_path / "edsr-x2" / "1" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    start = recipe("edsr", 4, "edsr-x2@1", blocks=2, features=8)
    with pytest.raises(BeginningError, match="SHA-256"):
        beginning(start, CheckpointFolder(tmp_path), no_examples)
