from dataclasses import asdict, replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tests.unit.training.test_perceptual import tensors
from tests.unit.training.test_pixel_loop import StopAfter
from training.dataset import read_pairs
from training.gan_loop import train_gan
from training.perceptual import PerceptualWeightsError
from training.recipe import GanRecipe, recipe_from
from training.run_state import RunStateError


def tiny_gan(steps: int = 4) -> GanRecipe:
    """A small SRResNet for a few steps."""
    return GanRecipe(
        family="srgan",
        architecture="srresnet",
        hyperparameters={"scale": 2, "blocks": 1, "features": 8},
        scale=2,
        halo_px=10,
        steps=steps,
        precision="float32",
        patch_px=16,
        batch_size=2,
        detail_draws=2,
        learning_rate=1e-3,
        discriminator_rate=1e-4,
        warmup_steps=1,
        ema_decay=0.9,
        pixel_weight=1.0,
        consistency_weight=1.0,
        perceptual_weight=1e-4,
        adversarial_weight=5e-3,
        perceptual_layers={"conv1_2": 0.5, "conv2_2": 1.0},
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("perceptual") / "vgg16.safetensors"
    safetensors.torch.save_file(tensors("vgg16"), path)
    return path


@pytest.mark.parametrize("adversarial", ["bce", "relativistic"])
@pytest.mark.parametrize("discriminator", ["srgan", "unet"])
def test_generator_and_discriminator_both_learn(
    photographs: Path, tmp_path: Path, weights: Path, discriminator: str, adversarial: str
) -> None:
    recipe = recipe_from(asdict(tiny_gan()) | {"discriminator": discriminator, "adversarial": adversarial})
    assert isinstance(recipe, GanRecipe)
    short = train_gan(replace(recipe, steps=1), photographs, tmp_path / "short", weights)
    long = train_gan(recipe, photographs, tmp_path / "long", weights)
    assert not torch.equal(short.network["head.weight"], long.network["head.weight"])
    before, after = short.adversary["network"], long.adversary["network"]
    assert any(not torch.equal(before[name], after[name]) for name in before if name.endswith("weight"))


def test_the_parts_of_the_loss_pull_towards_hr(
    photographs: Path, benchmarks: Path, tmp_path: Path, weights: Path
) -> None:
    state = train_gan(
        replace(tiny_gan(60), learning_rate=3e-3), photographs, tmp_path, weights, benchmarks / "Set5"
    )
    assert len(read_pairs(benchmarks / "Set5", 2)) == 1
    first, last = state.curve[0], state.curve[-1]
    assert last["loss"] < first["loss"]
    assert (tmp_path / "curve.png").stat().st_size > 0
    assert (tmp_path / "crops.png").stat().st_size > 0


def test_batch_norms_stay_at_rest(photographs: Path, tmp_path: Path, weights: Path) -> None:
    state = train_gan(tiny_gan(), photographs, tmp_path, weights)
    assert state.network["body_end.norm.running_mean"].abs().max() == 0.0
    assert state.network["body_end.norm.num_batches_tracked"] == 0


def test_a_stopped_run_ends_as_if_it_had_not_been(
    photographs: Path, tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train_gan(tiny_gan(6), photographs, tmp_path / "whole", weights)
    with monkeypatch.context() as patched:
        patched.setattr("training.gan_loop.Interruption", lambda: StopAfter(3))
        assert train_gan(tiny_gan(6), photographs, tmp_path / "resumed", weights).step == 3
    resumed = train_gan(tiny_gan(6), photographs, tmp_path / "resumed", weights)
    for name, weight in whole.network.items():
        assert torch.equal(weight, resumed.network[name]), name
    for name, weight in whole.adversary["network"].items():
        assert torch.equal(weight, resumed.adversary["network"][name]), name


def test_other_perceptual_weights_are_another_run(photographs: Path, tmp_path: Path, weights: Path) -> None:
    train_gan(tiny_gan(), photographs, tmp_path / "run", weights)
    others = {name: tensor + 1.0 for name, tensor in tensors("vgg16").items()}
    safetensors.torch.save_file(others, tmp_path / "others.safetensors")
    with pytest.raises(RunStateError, match="another recipe, other photographs or other perceptual weights"):
        train_gan(tiny_gan(), photographs, tmp_path / "run", tmp_path / "others.safetensors")


def test_without_a_perceptual_network_it_says_what_to_do(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(PerceptualWeightsError, match="fetch vgg16"):
        train_gan(tiny_gan(), photographs, tmp_path, tmp_path / "nothing.safetensors")
