"""Each network: what it depends on, what it costs, and numbers that must not move."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from sr_models.bicubic import Bicubic
from sr_models.catalog import ARCHITECTURES, UnknownArchitectureError, build
from sr_models.espcn import ESPCN
from sr_models.pixels import rgb_from_ycbcr, ycbcr_from_rgb
from sr_models.upscaler import LumaNetwork


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_the_receptive_radius_is_what_it_says(architecture: str, scale: int) -> None:
    torch.manual_seed(0)
    network = build(architecture, {"scale": scale}).double()
    radius = network.receptive_radius_px
    assert isinstance(radius, int)
    size = 4 * radius + 3
    middle = size // 2
    x = torch.rand(1, 1, size, size, dtype=torch.float64)
    touched = x.clone()
    touched[..., middle, middle] += 1.0
    with torch.inference_mode():
        moved = ((network(touched) - network(x)).abs() > 0)[0, 0].nonzero()
    first, last = moved.min().item() // scale, moved.max().item() // scale
    assert middle - radius <= first
    assert last <= middle + radius
    assert first == middle - radius, "a smaller radius would do"


def test_espcn_costs_what_its_docstring_says() -> None:
    network = ESPCN(4)
    assert sum(p.numel() for p in network.parameters()) == 24_752
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert (
        sum(m.weight.numel() for m in convolutions) == 24_640
    )  # stride 1: one multiply-add a weight and pixel


def with_fixed_weights(network: nn.Module) -> nn.Module:
    """Weights that any version of torch makes alike."""
    for number, parameter in enumerate(network.parameters()):
        values = torch.sin(torch.arange(parameter.numel(), dtype=torch.float64) * 0.7 + number) * 0.1
        parameter.data = values.reshape(parameter.shape)
    return network


def ramp(height: int, width: int) -> Tensor:
    return (
        torch.cos(torch.arange(height * width, dtype=torch.float64) * 0.37).reshape(1, 1, height, width) * 0.5
        + 0.5
    )


def test_espcn_golden_numbers() -> None:
    with torch.inference_mode():
        sr = with_fixed_weights(ESPCN(2).double())(ramp(3, 3))[0, 0]
    golden = torch.tensor([0.42019944413683374, 0.4590260644082998, 0.4175151205621227], dtype=torch.float64)
    torch.testing.assert_close(sr[0, :3], golden, rtol=0, atol=1e-10)


def test_bicubic_is_pillows_where_no_border_is_near() -> None:
    picture = np.random.default_rng(0).random((20, 24), np.float32)
    for scale in (2, 3, 4):
        ours = Bicubic(scale)(torch.from_numpy(picture)[None, None])[0, 0].numpy()
        size = (24 * scale, 20 * scale)
        pillows = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
        inner = slice(2 * scale, -2 * scale)
        np.testing.assert_allclose(ours[inner, inner], pillows[inner, inner], atol=1e-5)


def test_bicubic_keeps_flat_colours_and_mirrors_at_the_border() -> None:
    flat = torch.full((1, 3, 1, 5), 0.3)
    torch.testing.assert_close(Bicubic(3)(flat), torch.full((1, 3, 3, 15), 0.3))
    symmetric = torch.tensor([[[[0.2, 0.9, 0.9, 0.2]]]])
    torch.testing.assert_close(Bicubic(2)(symmetric), Bicubic(2)(symmetric).flip(3))


def test_ycbcr_there_and_back() -> None:
    rgb = torch.rand(2, 3, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(rgb_from_ycbcr(ycbcr_from_rgb(rgb)), rgb)


def test_a_luma_network_enlarges_grey_to_grey() -> None:
    torch.manual_seed(0)
    grey = torch.rand(1, 1, 6, 7).expand(1, 3, 6, 7)
    with torch.inference_mode():
        sr = LumaNetwork(ESPCN(2), 2)(grey)
    torch.testing.assert_close(sr[:, :1].expand_as(sr), sr, rtol=0, atol=1e-5)


def test_the_catalogue_refuses_what_it_does_not_have() -> None:
    with pytest.raises(UnknownArchitectureError):
        build("transformer", {"scale": 2})
    with pytest.raises(ValueError, match="does not take"):
        build("espcn", {"scale": 2, "depth": 9})
