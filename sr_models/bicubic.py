"""Bicubic interpolation as a network: the baseline that every learnt network has to beat.

Source: R. Keys, "Cubic convolution interpolation for digital image processing", IEEE Transactions
on Acoustics, Speech, and Signal Processing, 1981 (a = -0.5), with mirrored borders, as
MATLAB's ``imresize(picture, scale, 'bicubic')`` enlarges.
Licence of the published weights: Apache-2.0 (the kernel is computed, nothing is learnt).

Enlarging by a whole number makes the r² phases of each LR pixel fixed sums of its 5x5
neighbourhood, so it is one sub-pixel convolution on each channel alone. As such it runs, tiles
and is published like any other network.

Cost: no trained parameters; 25·r² multiply-adds for each LR pixel and channel.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def keys_cubic(x: Tensor) -> Tensor:
    """Keys' cubic kernel with a = -0.5; support [-2, 2].

    >>> keys_cubic(torch.tensor([0.0, 0.5, 1.0, 2.0])).tolist()
    [1.0, 0.5625, 0.0, 0.0]
    """
    a = x.abs()
    near = (1.5 * a - 2.5) * a * a + 1.0
    far = ((-0.5 * a + 2.5) * a - 4.0) * a + 2.0
    return torch.where(a <= 1.0, near, torch.where(a <= 2.0, far, 0.0))


def mirror_indices(size: int, border: int) -> Tensor:
    """Positions -border … size+border-1 folded into 0 … size-1, the edge sample repeated.

    >>> mirror_indices(3, 2).tolist()
    [1, 0, 0, 1, 2, 2, 1]
    """
    position = torch.arange(-border, size + border).remainder(2 * size)
    return torch.where(position < size, position, 2 * size - 1 - position)


class Bicubic(nn.Module):
    """Any channels, each alone: float (N, C, H, W) to float (N, C, scale·H, scale·W)."""

    receptive_radius_px = 2
    """LR pixels on each side that an output pixel depends on."""

    kernel: Tensor

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        phase = (torch.arange(scale, dtype=torch.float64) + 0.5) / scale - 0.5
        taps = keys_cubic(phase[:, None] - torch.arange(-2, 3))
        kernel = torch.einsum("ai,bj->abij", taps, taps).reshape(scale**2, 1, 5, 5)
        self.register_buffer("kernel", kernel.float())

    def forward(self, x_NCHW: Tensor) -> Tensor:
        n, c, h, w = x_NCHW.shape
        rows, columns = mirror_indices(h, 2), mirror_indices(w, 2)
        device = x_NCHW.device
        padded = x_NCHW.index_select(2, rows.to(device)).index_select(3, columns.to(device))
        phases = F.conv2d(padded.reshape(n * c, 1, h + 4, w + 4), self.kernel)
        return F.pixel_shuffle(phases, self.scale).reshape(n, c, h * self.scale, w * self.scale)
