import copy

import pytest
import torch
from torch import nn

from sr_models.batch_norm import ConvolutionBatchNorm, calibrate_batch_norms, fold_batch_norms
from sr_models.edsr import EDSR
from sr_models.srresnet import SRResNet
from tests.unit.sr_models.fixed_weights import with_random_weights


def has_batch_norm(network: nn.Module) -> bool:
    return any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@torch.inference_mode()
def test_folding_takes_batch_norms_out_and_changes_nothing_else() -> None:
    torch.manual_seed(0)
    network = with_random_weights(SRResNet(2, blocks=2, features=8)).double()
    rgb = torch.rand(2, 3, 9, 10, dtype=torch.float64)
    before = copy.deepcopy(network.state_dict())
    folded = fold_batch_norms(network.train())
    assert not has_batch_norm(folded)
    torch.testing.assert_close(folded(rgb), network.eval()(rgb), rtol=0, atol=1e-12)
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    assert folded.receptive_radius_px == network.receptive_radius_px


@torch.inference_mode()
def test_one_convolution_with_batch_norm_folds_too() -> None:
    network = with_random_weights(ConvolutionBatchNorm(3, 4, stride=2))
    folded = fold_batch_norms(network)
    assert isinstance(folded, nn.Conv2d)
    rgb = torch.rand(1, 3, 5, 5)
    assert folded(rgb).shape == (1, 4, 3, 3)
    torch.testing.assert_close(folded(rgb), network(rgb))


def test_a_network_without_batch_norms_stays_as_it_is() -> None:
    network = EDSR(2, blocks=1, features=8)
    assert fold_batch_norms(network) is network
    assert network.training


@torch.inference_mode()
def test_calibration_keeps_what_the_network_does_at_rest_and_brings_training_close_to_it() -> None:
    torch.manual_seed(0)
    edsr = with_random_weights(EDSR(2, blocks=3, features=16), deviation=0.1)
    assert isinstance(edsr, EDSR)
    network = SRResNet.from_edsr(edsr)
    batches = [torch.rand(4, 3, 16, 16) for _ in range(4)]
    unseen = torch.rand(16, 3, 16, 16)
    at_rest = network.eval()(unseen)
    added = (at_rest - network.bicubic(unseen)).std()

    def error_in_training() -> float:
        in_training = copy.deepcopy(network).train()(unseen)
        return float((in_training - at_rest).std() / added)

    error_before = error_in_training()
    calibrate_batch_norms(network.train(), batches)
    assert network.training
    torch.testing.assert_close(network.eval()(unseen), at_rest, rtol=0, atol=1e-5)
    assert error_before > 0.5, "without calibration another network would be trained"
    assert error_in_training() < 0.05
    assert not any(module._forward_pre_hooks for module in network.modules())


@torch.inference_mode()
def test_calibrated_on_one_batch_that_batch_is_the_same_in_training() -> None:
    torch.manual_seed(0)
    network = with_random_weights(SRResNet(2, blocks=2, features=8)).double()
    batch = torch.rand(4, 3, 12, 12, dtype=torch.float64)
    at_rest = network(batch)
    calibrate_batch_norms(network, [batch])
    torch.testing.assert_close(network.train()(batch), at_rest, rtol=0, atol=1e-10)


@torch.inference_mode()
def test_a_channel_that_never_changes_is_calibrated_without_infinities() -> None:
    network = nn.Sequential(nn.BatchNorm2d(1)).eval()
    flat = torch.full((1, 1, 4, 4), 0.3)
    before = network(flat)
    calibrate_batch_norms(network, [flat])
    torch.testing.assert_close(network(flat), before)


def test_calibration_needs_a_batch() -> None:
    with pytest.raises(ValueError, match="at least one"):
        calibrate_batch_norms(SRResNet(2, blocks=1, features=8), [])
