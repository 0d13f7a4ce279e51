"""Flat parts of a picture stay flat, whatever a network makes of them.

A network answers a patch without any detail with a colour that is nearly the same, in saturated colours some 255ths beside it, and
beside the picture's border, where convolutions see zeros, a frame of it. Where there is no detail there is nothing to restore, and interpolation is
right. So the network's answer counts as much as there is detail within reach: not at all where the picture is flat, wholly from
`FULL_DETAIL` on, as nearly everywhere in photographs.
"""

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
        # On a GPU the question would cost more than what it saves.
        if share_N1HW.device.type == "cpu" and bool((share_N1HW == 1.0).all()):
            return sr_NCHW
        smooth_NCHW, weight_N1HW = (
            F.interpolate(each, scale_factor=self.scale, mode="bilinear", align_corners=False)
            for each in (lr_NCHW, share_N1HW)
        )
        return torch.where(weight_N1HW < 1.0, torch.lerp(smooth_NCHW, sr_NCHW, weight_N1HW), sr_NCHW)


def spread(lr_NCHW: Tensor) -> Tensor:
    """The difference of the largest and the smallest sample near each pixel, of the channel where it is largest: (N, 1, H, W)."""
    extremes = torch.cat([lr_NCHW, -lr_NCHW])
    for kernel, padding in (
        ((1, 2 * RADIUS_PX + 1), (0, RADIUS_PX)),
        ((2 * RADIUS_PX + 1, 1), (RADIUS_PX, 0)),
    ):
        extremes = F.max_pool2d(extremes, kernel, stride=1, padding=padding)
    largest, negative_smallest = extremes.chunk(2)
    return (largest + negative_smallest).amax(dim=1, keepdim=True)
