"""Every network: what it depends on, how it begins, its checkpoint's keys, and numbers that must not move."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sr_models.bicubic import Bicubic
from sr_models.catalog import ARCHITECTURES, build
from sr_models.discriminator import Discriminator
from sr_models.unet_discriminator import UNetDiscriminator
from tests.unit.sr_models.fixed_weights import ramp, with_fixed_weights, with_random_weights

GOLDEN_KEYS = Path(__file__).parents[2] / "golden" / "checkpoint_keys.json"
"""Name and shape of every tensor in the checkpoint of each network below at scale 4."""

TINY: dict[str, dict[str, Any]] = {
    "bicubic": {},
    "edsr": {"blocks": 1, "features": 4},
    "espcn": {},
    "srgan-bottleneck": {"blocks": 1, "features": 8},
    "srresnet": {"blocks": 1, "features": 4},
}


def channels_of(architecture: str) -> int:
    return 1 if architecture == "espcn" else 3


def test_every_network_is_tested_here() -> None:
    assert TINY.keys() == ARCHITECTURES.keys()


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    ("architecture", "hyperparameters"),
    [
        *TINY.items(),
        ("edsr", {"blocks": 3, "features": 4}),
        ("srgan-bottleneck", {"blocks": 3, "features": 8}),
        ("srgan-bottleneck", {"blocks": 1, "features": 8, "sharpen": 0.5}),
        ("srresnet", {"blocks": 3, "features": 4}),
    ],
)
@torch.inference_mode()
def test_the_receptive_radius_is_what_it_says(
    architecture: str, hyperparameters: dict[str, Any], scale: int
) -> None:
    torch.manual_seed(0)
    network = with_random_weights(build(architecture, {"scale": scale, **hyperparameters}), 0.1).double()
    radius = network.receptive_radius_px
    assert isinstance(radius, int)
    size = 2 * radius + 5
    middle = size // 2
    x = torch.rand(1, channels_of(architecture), size, size, dtype=torch.float64)
    touched = x.clone()
    touched[..., middle, middle] += 1.0
    moved = (network(touched) != network(x)).any(dim=1)[0].nonzero() // scale
    first, last = moved.amin(dim=0).tolist(), moved.amax(dim=0).tolist()
    assert min(first) >= middle - radius
    assert max(last) <= middle + radius
    assert first == [middle - radius] * 2, "a smaller radius would do"


@pytest.mark.parametrize(
    ("architecture", "blocks", "radius_px"),
    [("edsr", 16, 36), ("edsr", 32, 68), ("srgan-bottleneck", 24, 28), ("srresnet", 16, 40)],
)
def test_the_receptive_radius_of_the_published_sizes(architecture: str, blocks: int, radius_px: int) -> None:
    with torch.device("meta"):
        network = build(architecture, {"scale": 4, "blocks": blocks})
    assert network.receptive_radius_px == radius_px


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("architecture", ["edsr", "srgan-bottleneck", "srresnet"])
@torch.inference_mode()
def test_training_begins_at_the_bicubic_picture(architecture: str, scale: int) -> None:
    network = build(architecture, {"scale": scale, **TINY[architecture]})
    rgb = torch.rand(2, 3, 7, 8)
    assert torch.equal(network(rgb), Bicubic(scale)(rgb))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("architecture", ["edsr", "srgan-bottleneck", "srresnet"])
def test_every_trained_number_gets_a_gradient_after_the_first_steps(architecture: str, scale: int) -> None:
    torch.manual_seed(0)
    network = build(architecture, {"scale": scale, **TINY[architecture]})
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        (network(torch.rand(2, 3, 6, 6)) - 0.5).square().mean().backward()
        optimizer.step()
    without = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize(
    ("architecture", "hyperparameters", "expected"),
    [
        ("bicubic", {"scale": 2}, [1.0130145976145568, 0.9897141661208091, 0.9431133031333132]),
        ("edsr", {"scale": 2}, [1.1657064805012167, 1.2040746490226089, 1.1625792008513476]),
        ("edsr", {"scale": 3}, [1.1326512069232955, 1.108113027056924, 1.1778055558703049]),
        ("edsr", {"scale": 4}, [1.0556562496742101, 1.0448487762236505, 1.023996656724412]),
        (
            "edsr",
            {"scale": 2, "residual_scaling": 0.1},
            [1.1851668648403524, 1.231809105196953, 1.1930298348063877],
        ),
        ("espcn", {"scale": 2}, [0.42019944413683374, 0.4590260644082998, 0.4175151205621227]),
        ("srgan-bottleneck", {"scale": 2}, [1.0259456750562412, 1.0725409591487032, 1.0451904781032444]),
        ("srgan-bottleneck", {"scale": 3}, [0.9260105057280983, 0.8705409323784818, 0.9221728991436569]),
        ("srgan-bottleneck", {"scale": 4}, [0.9782085484318631, 1.00153206501995, 0.9711018378789736]),
        (
            "srgan-bottleneck",
            {"scale": 2, "sharpen": 0.5},
            [0.9854901879152809, 1.0550892494036925, 1.040176808151454],
        ),
        ("srresnet", {"scale": 2}, [0.9931597224329772, 1.003994772000847, 1.0113212116396746]),
        ("srresnet", {"scale": 3}, [1.021039055391948, 1.0547243281965308, 1.0213249750573574]),
        ("srresnet", {"scale": 4}, [1.0072191434166318, 0.9489016288604974, 0.9258877241457357]),
    ],
)
@torch.inference_mode()
def test_golden_numbers(architecture: str, hyperparameters: dict[str, Any], expected: list[float]) -> None:
    network = with_fixed_weights(build(architecture, {**TINY[architecture], **hyperparameters}))
    sr = network(ramp(channels_of(architecture), 3, 3))[0, -1, 0, :3]
    torch.testing.assert_close(sr, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-10)


def keys_and_shapes(network: nn.Module) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("name", [*TINY, "discriminator", "unet-discriminator"])
def test_checkpoint_keys_are_pinned(name: str) -> None:
    with torch.device("meta"):
        match name:
            case "discriminator":
                network: nn.Module = Discriminator(patch_px=32)
            case "unet-discriminator":
                network = UNetDiscriminator(features=4)
            case _:
                network = build(name, {"scale": 4, **TINY[name]})
    assert keys_and_shapes(network) == json.loads(GOLDEN_KEYS.read_text("utf-8"))[name]
