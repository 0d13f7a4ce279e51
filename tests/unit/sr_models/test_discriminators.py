"""Both discriminators: SRGAN's on whole patches, the U-Net on every pixel."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from sr_models.discriminator import Discriminator
from sr_models.unet_discriminator import UNetDiscriminator
from tests.unit.sr_models.fixed_weights import ramp, with_fixed_weights


@pytest.mark.parametrize("patch_px", [16, 32, 33, 96])
@torch.inference_mode()
def test_a_patch_of_any_size_gets_one_logit(patch_px: int) -> None:
    assert Discriminator(patch_px)(torch.rand(2, 3, patch_px, patch_px)).shape == (2, 1)


def test_its_layers_are_the_papers() -> None:
    layers = list(Discriminator(96).modules())
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [(c.out_channels, c.stride[0]) for c in convolutions] == [
        (64, 1), (64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1), (512, 2),
    ]  # fmt: skip
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in layers) == 7
    assert convolutions[0].bias is not None, "the first has no batch norm"
    assert [layer.out_features for layer in layers if isinstance(layer, nn.Linear)] == [1024, 1]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (17, 30), (31, 9)])
@torch.inference_mode()
def test_every_pixel_gets_a_logit_whatever_the_size(height: int, width: int) -> None:
    assert UNetDiscriminator(4)(torch.rand(2, 3, height, width)).shape == (2, 1, height, width)


def test_spectral_norm_bounds_what_each_layer_amplifies() -> None:
    torch.manual_seed(0)
    network = UNetDiscriminator(4)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=3.0)
    for _ in range(50):
        network(torch.rand(1, 3, 8, 8))
    inner = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)][1:-1]
    assert len(inner) == 8
    for layer in inner:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1.0, abs=0.02)


def learns(network: nn.Module, steps: int, learning_rate: float) -> float:
    """The loss of telling grey patches from noise, after so many steps; before any it is about 0.69."""
    optimizer = torch.optim.Adam(network.parameters(), learning_rate)
    loss = torch.tensor(0.0)
    for _ in range(steps):
        logits: Tensor = network(torch.cat([torch.rand(4, 3, 16, 16), torch.full((4, 3, 16, 16), 0.5)]))
        truth = torch.zeros_like(logits)
        truth[:4] = 1.0
        loss = binary_cross_entropy_with_logits(logits, truth)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return loss.item()


def test_both_learn_to_tell_two_kinds_of_pictures_apart() -> None:
    torch.manual_seed(0)
    assert learns(Discriminator(16), steps=8, learning_rate=1e-4) < 0.2
    assert learns(UNetDiscriminator(8), steps=200, learning_rate=1e-3) < 0.2


@torch.inference_mode()
def test_golden_numbers() -> None:
    logit = with_fixed_weights(Discriminator(16))(ramp(3, 16, 16)).item()
    assert logit == pytest.approx(1.837272465940273, abs=1e-9)
    unet = with_fixed_weights(UNetDiscriminator(4)).train()
    for _ in range(300):  # until the spectral norms are right, wherever their random start was
        unet(ramp(3, 9, 10))
    golden = [-0.10946720044527575, -0.1125968203202848, -0.10824809917024435]
    assert unet.eval()(ramp(3, 9, 10))[0, 0, 0, :3].tolist() == pytest.approx(golden, abs=1e-7)
