import numpy as np
import pytest
import torch

from training.degradation import matlab_bicubic
from training.losses import ADVERSARIAL_LOSSES, PIXEL_LOSSES, lr_distance


@pytest.mark.parametrize(("name", "expected"), [("mse", 0.04), ("l1", 0.2), ("charbonnier", 0.2000025)])
def test_pixel_losses_of_a_constant_difference(name: str, expected: float) -> None:
    a = torch.full((2, 3, 4, 4), 0.5)
    assert PIXEL_LOSSES[name](a, a + 0.2).item() == pytest.approx(expected, rel=1e-5)


def test_charbonnier_is_smooth_where_l1_has_its_tip() -> None:
    x = torch.zeros(1, requires_grad=True)
    PIXEL_LOSSES["charbonnier"](x, torch.zeros(1)).backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.item() == 0.0


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_photograph_is_consistent_with_its_own_lr(scale: int) -> None:
    hr = np.random.default_rng(0).integers(0, 256, (12 * scale, 9 * scale, 3), np.uint8)
    lr = matlab_bicubic(hr, scale)
    sr_NCHW, lr_NCHW = (torch.from_numpy(x).permute(2, 0, 1)[None].double() / 255 for x in (hr, lr))
    assert lr_distance(sr_NCHW, lr_NCHW, scale).item() < 0.5 / 255  # only the rounding of LR, and clipping
    assert lr_distance(sr_NCHW.flip(3), lr_NCHW, scale).item() > 5 / 255


@pytest.mark.parametrize("name", sorted(ADVERSARIAL_LOSSES))
def test_both_sides_prefer_their_own_victory(name: str) -> None:
    loss = ADVERSARIAL_LOSSES[name]
    high, low = torch.full((4, 1), 3.0), torch.full((4, 1), -3.0)
    assert loss.of_discriminator(high, low) < loss.of_discriminator(low, high)
    assert loss.of_generator(low, high) < loss.of_generator(high, low)


@pytest.mark.parametrize("name", sorted(ADVERSARIAL_LOSSES))
def test_the_generator_s_gradient_does_not_vanish_where_it_loses(name: str) -> None:
    sr_logits = torch.full((4, 1), -8.0, requires_grad=True)
    ADVERSARIAL_LOSSES[name].of_generator(torch.full((4, 1), 8.0), sr_logits).backward()  # type: ignore[no-untyped-call]
    assert sr_logits.grad is not None
    assert sr_logits.grad.sum().item() < -0.4
