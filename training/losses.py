"""What networks minimise. Pictures are float (N, C, H, W) about [0, 1]; every loss is a scalar."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from training.degradation import shrink_matrix

Loss = Callable[[Tensor, Tensor], Tensor]


def charbonnier(a_NCHW: Tensor, b_NCHW: Tensor) -> Tensor:
    """L1 with a rounded tip of 0.001: P. Charbonnier et al. 1994; for super-resolution, LapSRN (W.-S. Lai et al. 2017, arXiv:1704.03915)."""
    return torch.sqrt((a_NCHW - b_NCHW).square() + 1e-6).mean()


PIXEL_LOSSES: Mapping[str, Loss] = {"mse": F.mse_loss, "l1": F.l1_loss, "charbonnier": charbonnier}


def lr_distance(sr_NCHW: Tensor, lr_NCHW: Tensor, scale: int) -> Tensor:
    """L1 between LR and SR made small again by antialiased bicubic: whether the invented detail is compatible with the input."""
    rows = shrink_matrix(sr_NCHW.shape[2], scale)
    columns = shrink_matrix(sr_NCHW.shape[3], scale)
    down, across = torch.from_numpy(rows).to(sr_NCHW), torch.from_numpy(columns).to(sr_NCHW)
    return F.l1_loss(down @ sr_NCHW @ across.T, lr_NCHW)


@dataclass(frozen=True)
class AdversarialLoss:
    """What the discriminator and the generator each minimise, from the discriminator's logits on HR and SR."""

    of_discriminator: Loss
    of_generator: Loss


def _bce(logits: Tensor, real: bool) -> Tensor:
    target = torch.ones_like(logits) if real else torch.zeros_like(logits)
    return F.binary_cross_entropy_with_logits(logits, target)


def _relativistic(hr_logits: Tensor, sr_logits: Tensor, hr_wins: bool) -> Tensor:
    hr_is_real = _bce(hr_logits - sr_logits.mean(), hr_wins)
    sr_is_real = _bce(sr_logits - hr_logits.mean(), not hr_wins)
    return (hr_is_real + sr_is_real) / 2


ADVERSARIAL_LOSSES: Mapping[str, AdversarialLoss] = {
    # I. Goodfellow et al. 2014, arXiv:1406.2661, with the generator's loss that does not saturate.
    "bce": AdversarialLoss(
        of_discriminator=lambda hr, sr: _bce(hr, True) + _bce(sr, False),
        of_generator=lambda hr, sr: _bce(sr, True),
    ),
    # A. Jolicoeur-Martineau 2018, arXiv:1807.00734, relative to the mean, as ESRGAN has it.
    "relativistic": AdversarialLoss(
        of_discriminator=lambda hr, sr: _relativistic(hr, sr, hr_wins=True),
        of_generator=lambda hr, sr: _relativistic(hr, sr, hr_wins=False),
    ),
}
