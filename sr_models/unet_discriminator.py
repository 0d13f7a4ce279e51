"""A U-Net as discriminator: an opinion on every pixel of a picture of any size. For training only.

Papers: X. Wang et al., "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data", ICCV
Workshops 2021, arXiv:2107.10833 (section 3.2); E. Schönfeld et al., "A U-Net Based Discriminator for
Generative Adversarial Networks", CVPR 2020, arXiv:2002.12655; spectral norm: T. Miyato et al., ICLR 2018,
arXiv:1802.05957.
Original code: https://github.com/xinntao/Real-ESRGAN; this is written from the papers.

Layers: a 3x3 convolution; three 4x4 convolutions with stride 2, each doubling the features; three times bilinear
enlargement, a 3x3 convolution to half the features and the sum with what was there on the way down; two 3x3
convolutions and one to a single map. LeakyReLU (slope 0.2) between all; spectral norm on all but the first and the last.

Deviations from the papers:
- Sides need not be multiples of 8: on the way up each map gets the size that it had on the way down.
- No opinion on the whole picture beside that on its pixels (Schönfeld et al. have both; Real-ESRGAN has not).

Cost with 64 features for a patch of 128x128: 4,376,897 parameters and 6.48 G multiply-adds.
"""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

NEGATIVE_SLOPE = 0.2


class UNetDiscriminator(nn.Module):
    """RGB in, a logit for each pixel out: float (N, 3, H, W) to (N, 1, H, W); above 0 means a photograph."""

    def __init__(self, features: int = 64) -> None:
        super().__init__()
        widths = [features * 2**depth for depth in range(4)]
        self.first = nn.Conv2d(3, features, 3, padding=1)
        self.down = nn.ModuleList(
            spectral_norm(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False))
            for width in widths[:-1]
        )
        self.up = nn.ModuleList(_convolution(2 * width, width) for width in reversed(widths[:-1]))
        self.opinion = nn.Sequential(
            _convolution(features, features),
            nn.LeakyReLU(NEGATIVE_SLOPE),
            _convolution(features, features),
            nn.LeakyReLU(NEGATIVE_SLOPE),
            nn.Conv2d(features, 1, 3, padding=1),
        )

    def forward(self, rgb_NCHW: Tensor) -> Tensor:
        x_NCHW = F.leaky_relu(self.first(rgb_NCHW), NEGATIVE_SLOPE)
        passed = []
        for convolution in self.down:
            passed.append(x_NCHW)
            x_NCHW = F.leaky_relu(convolution(x_NCHW), NEGATIVE_SLOPE)
        for convolution, on_the_way_down in zip(self.up, reversed(passed), strict=True):
            size = on_the_way_down.shape[-2:]
            enlarged = F.interpolate(x_NCHW, size=size, mode="bilinear", align_corners=False)
            x_NCHW = F.leaky_relu(convolution(enlarged), NEGATIVE_SLOPE) + on_the_way_down
        logits_N1HW: Tensor = self.opinion(x_NCHW)
        return logits_N1HW


def _convolution(in_features: int, out_features: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(in_features, out_features, 3, padding=1, bias=False))
