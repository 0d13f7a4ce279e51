"""Flat parts of a picture stay flat, whatever a network makes of them.

A network answers a patch without any detail with a colour that is nearly the same, in saturated colours some 255ths beside it, and
beside the picture's border, where convolutions see zeros, a frame of it. Where there is no detail there is nothing to restore, and interpolation is
right. So the network's answer counts as much as there is detail within reach: not at all where the picture is flat, wholly from
`FULL_DETAIL` on, as nearly everywhere in photographs.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RADIUS_PX = 2
"""LR pixels on each side in which detail is looked for."""
FULL_DETAIL = 2.0 / 255.0
"""Between the darkest and the lightest sample: what grain, or a JPEG's noise, exceeds."""


class FlatKept(nn.Module):
    """A network on RGB whose flat parts are interpolated: float (N, 3, H, W) in [0, 1] to float (N, 3, scale·H, scale·W)."""

    def __init__(self, network: nn.Module, scale: int) -> None:
        super().__init__()
        self.network = network
        self.scale = scale

    def forward(self, lr_NCHW: Tensor) -> Tensor:
        sr_NCHW: Tensor = self.network(lr_NCHW)
        share_N1HW = (spread(lr_NCHW) / FULL_DETAIL).clamp_(max=1.0)
        if share_N1HW.device.type == "cpu":  # on a GPU the question would cost more than what it saves
            for window in (share_N1HW < 1.0).any(dim=(1, 2, 3)).nonzero().flatten().tolist():
                part = slice(window, window + 1)
                sr_NCHW[part] = self._mixed(lr_NCHW[part], sr_NCHW[part], share_N1HW[part])
            return sr_NCHW
        return self._mixed(lr_NCHW, sr_NCHW, share_N1HW)

    def _mixed(self, lr_NCHW: Tensor, sr_NCHW: Tensor, share_N1HW: Tensor) -> Tensor:
        smooth_NCHW, weight_N1HW = (
            F.interpolate(each, scale_factor=self.scale, mode="bilinear", align_corners=False)
            for each in (lr_NCHW, share_N1HW)
        )
        return smooth_NCHW.lerp_(
            sr_NCHW, weight_N1HW
        )  # where the weight is 1 that is the network's answer to the bit


def spread(lr_NCHW: Tensor) -> Tensor:
    """The difference of the largest and the smallest sample near each pixel, of the channel where it is largest: (N, 1, H, W)."""
    reach = (RADIUS_PX,) * 4
    padded = F.pad(lr_NCHW, reach, mode="replicate")
    largest, smallest = padded, padded
    for axis in (2, 3):
        largest, smallest = (
            _over_window(largest, axis, torch.maximum),
            _over_window(smallest, axis, torch.minimum),
        )
    return (largest - smallest).amax(dim=1, keepdim=True)


def _over_window(x_NCHW: Tensor, axis: int, choose: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Of each five neighbours one: three comparisons, on a CPU in an eighth of a pooling's time."""
    length = x_NCHW.shape[axis] - 2 * RADIUS_PX
    pairs = choose(x_NCHW.narrow(axis, 0, length + 3), x_NCHW.narrow(axis, 1, length + 3))
    fours = choose(pairs.narrow(axis, 0, length), pairs.narrow(axis, 2, length))
    return choose(fours, x_NCHW.narrow(axis, 4, length))
