"""Figures in docstrings are those of the networks, and those of the papers where there are some."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sr_models import discriminator, srresnet, unet_discriminator
from sr_models.batch_norm import fold_batch_norms
from sr_models.bicubic import Bicubic
from sr_models.catalog import build
from sr_models.cost import multiply_adds, parameters
from sr_models.edsr import EDSR
from sr_models.espcn import ESPCN
from sr_models.srresnet import SRResNet

LARGE = {"blocks": 32, "features": 256, "residual_scaling": 0.1}


@pytest.mark.parametrize(
    ("architecture", "hyperparameters", "trained", "giga"),
    [
        ("edsr", {"scale": 4}, 1_517_571, "114"),
        ("edsr", {"scale": 3}, 1_554_499, "160"),
        ("edsr", {"scale": 2}, 1_369_859, "316"),
        ("edsr", {"scale": 4, **LARGE}, 43_089_923, "2,895"),
        ("srgan-bottleneck", {"scale": 4}, 796_931, "73"),
        ("srgan-bottleneck", {"scale": 3}, 833_859, "86"),
        ("srgan-bottleneck", {"scale": 2}, 649_219, "150"),
        ("srresnet", {"scale": 4}, 1_547_350, "128"),
        ("srresnet", {"scale": 3}, 1_584_277, "174"),
        ("srresnet", {"scale": 2}, 1_399_637, "332"),
    ],
)
def test_a_result_of_1280x720_costs_what_the_docstring_says(
    architecture: str, hyperparameters: dict[str, Any], trained: int, giga: str
) -> None:
    with torch.device("meta"):
        network = build(architecture, hyperparameters)
    scale = hyperparameters["scale"]
    # A third of 1280 is no whole number of pixels: the whole width, and then its part.
    cost = multiply_adds(network, 720 // scale, 1280) / scale
    assert parameters(network) == trained
    assert f"{cost / 1e9:,.0f}" == giga
    documented = sys.modules[type(network).__module__].__doc__ or ""
    assert f"x{scale} {trained:,}" in documented
    assert f"{giga} G" in documented


def test_espcn_and_bicubic_cost_what_their_docstrings_say() -> None:
    espcn, large_px = ESPCN(4), 2000
    assert parameters(espcn) == 24_752
    per_pixel = multiply_adds(espcn, large_px, large_px) / large_px**2
    assert per_pixel == pytest.approx(24_640, rel=0.01), "the replicated border costs a little too"
    bicubic = Bicubic(3)
    assert parameters(bicubic) == multiply_adds(bicubic, 9, 9) == 0
    with FlopCounterMode(display=False) as counter:
        bicubic(torch.rand(1, 3, 10, 10))
    assert counter.get_total_flops() // 2 == 25 * 3**2 * 3 * 100


@pytest.mark.parametrize(
    ("module", "build_one", "patch_px", "trained", "giga"),
    [
        (discriminator, lambda: discriminator.Discriminator(96), 96, 23_563_649, "0.88"),
        (unet_discriminator, unet_discriminator.UNetDiscriminator, 128, 4_376_897, "6.48"),
    ],
)
def test_the_discriminators_cost_what_their_docstrings_say(
    module: ModuleType, build_one: Callable[[], nn.Module], patch_px: int, trained: int, giga: str
) -> None:
    with torch.device("meta"):
        network = build_one()
    assert parameters(network) == trained
    assert f"{multiply_adds(network, patch_px, patch_px) / 1e9:.2f}" == giga
    documented = module.__doc__ or ""
    assert f"a patch of {patch_px}x{patch_px}: {trained:,} parameters and {giga} G" in documented


def test_folding_saves_the_numbers_that_the_docstring_says() -> None:
    folded = parameters(fold_batch_norms(SRResNet(4)))
    assert folded == 1_545_238
    assert f"folded, x4 has {folded:,}" in (srresnet.__doc__ or "")


@pytest.mark.parametrize("architecture", ["edsr", "srresnet", "srgan-bottleneck"])
def test_torch_counts_the_same_but_for_the_bicubic_picture(architecture: str) -> None:
    network = build(architecture, {"scale": 4, "blocks": 2, "features": 8})
    with FlopCounterMode(display=False) as counter:
        network(torch.rand(1, 3, 6, 7))
    assert multiply_adds(network, 6, 7) + 25 * 4**2 * 3 * 6 * 7 == counter.get_total_flops() // 2


def test_counting_leaves_the_network_as_it_is() -> None:
    network = EDSR(2, blocks=1, features=4)
    before = network.head.weight
    multiply_adds(network, 8, 8)
    assert network.head.weight is before
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
    network(torch.rand(1, 3, 4, 4))
