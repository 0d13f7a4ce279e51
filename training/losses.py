"""Distances between two pictures, for a network to minimise. All take float (N, C, H, W) about [0, 1], give a scalar."""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def charbonnier(a_NCHW: Tensor, b_NCHW: Tensor) -> Tensor:
    """L1 with a rounded tip of 0.001: P. Charbonnier et al. 1994; for super-resolution, LapSRN (W.-S. Lai et al. 2017, arXiv:1704.03915)."""
    return torch.sqrt((a_NCHW - b_NCHW).square() + 1e-6).mean()


PIXEL_LOSSES: Mapping[str, Loss] = {"mse": F.mse_loss, "l1": F.l1_loss, "charbonnier": charbonnier}
