import copy

import pytest
import torch

from sr_models.bicubic import Bicubic
from sr_models.edsr import EDSR
from sr_models.srresnet import SRResNet
from tests.unit.sr_models.fixed_weights import with_random_weights


def trained_edsr(scale: int, residual_scaling: float = 1.0) -> EDSR:
    torch.manual_seed(scale)
    network = with_random_weights(EDSR(scale, 3, 8, residual_scaling)).double()
    assert isinstance(network, EDSR)
    return network


@pytest.mark.parametrize("residual_scaling", [1.0, 0.1])
@pytest.mark.parametrize("scale", [2, 3, 4])
@torch.inference_mode()
def test_it_can_begin_as_an_edsr(scale: int, residual_scaling: float) -> None:
    edsr = trained_edsr(scale, residual_scaling)
    network = SRResNet.from_edsr(edsr).double().eval()
    rgb = torch.rand(2, 3, 9, 8, dtype=torch.float64)
    bicubic = Bicubic(scale).double()(rgb)
    residual, expected = network(rgb) - bicubic, edsr(rgb) - bicubic
    assert 0.01 < expected.abs().max() < 0.15, "a residual as large as in photographs"
    torch.testing.assert_close(residual, expected, rtol=0, atol=0.15**3 / 3)  # tanh(x) is about x - x³/3
    torch.testing.assert_close(torch.atanh(residual), expected, rtol=0, atol=1e-7)


def test_what_began_as_an_edsr_is_of_no_further_use_to_it() -> None:
    edsr = trained_edsr(2)
    before = copy.deepcopy(edsr.state_dict())
    network = SRResNet.from_edsr(edsr)
    for parameter in network.parameters():
        assert parameter.requires_grad
        parameter.data.zero_()
    torch.testing.assert_close(edsr.state_dict(), before, rtol=0, atol=0)


@torch.inference_mode()
def test_training_begins_at_the_bicubic_picture_with_blocks_that_do_nothing() -> None:
    network = SRResNet(3, blocks=2, features=8)
    rgb = torch.rand(2, 3, 7, 8)
    assert torch.equal(network(rgb), network.bicubic(rgb))
    features = torch.rand(2, 8, 7, 8)
    assert torch.equal(network.blocks(features), features)


@torch.inference_mode()
def test_tanh_bounds_what_is_added_to_the_bicubic_picture() -> None:
    network = with_random_weights(SRResNet(2, blocks=1, features=8), deviation=9.0)
    rgb = torch.rand(1, 3, 7, 8)
    added = network(rgb) - Bicubic(2)(rgb)
    assert 0.99 < added.abs().max() <= 1.0001
