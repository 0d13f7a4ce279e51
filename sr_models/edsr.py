"""EDSR: residual blocks without batch norm; `edsr-baseline` and the large `edsr` are two sizes of it.

Paper: B. Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPR
Workshops 2017, arXiv:1707.02921.
Original code: https://github.com/sanghyun-son/EDSR-PyTorch; this is written from the paper.
Licence of the published weights: Apache-2.0 (trained on openly licensed photographs only).

Layers: a 3x3 head, `blocks` residual blocks (3x3, ReLU, 3x3; the branch times `residual_scaling`), a 3x3
convolution and a skip around the body, sub-pixel convolutions (x2 twice for x4, x3 once), a 3x3 tail.
Zeros beyond the border at every convolution. Sizes (section 4.1): baseline 16 blocks of 64
features; large 32 blocks of 256, residual scaling 0.1.

Deviations from the paper:
- The bicubically enlarged input is added to the output, so that the network learns what bicubic
  lacks. It takes the place of subtracting and adding the mean colour of DIV2K.
- The second convolution of each block and the tail start at zero, so that training starts at the
  bicubic picture; sub-pixel convolutions start as ICNR (Aitken et al. 2017, arXiv:1707.02937).

Cost for a 1280x720 result: `edsr-baseline` x4 1,517,571 parameters and 114 G multiply-adds, x3 1,554,499 and 160 G,
x2 1,369,859 and 316 G; `edsr` x4 43,089,923 and 2,895 G.
"""

import torch
from torch import Tensor, nn

from sr_models.bicubic import Bicubic
from sr_models.subpixel import subpixel_convolution, subpixel_factors


class ResidualBlock(nn.Module):
    """float (N, C, H, W) to the same shape."""

    def __init__(self, features: int, residual_scaling: float) -> None:
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.second = nn.Conv2d(features, features, 3, padding=1)
        self.residual_scaling = residual_scaling
        zero(self.second)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        branch = self.second(torch.relu_(self.first(x_NCHW)))
        return torch.add(x_NCHW, branch, alpha=self.residual_scaling)


class EDSR(nn.Module):
    """RGB in, RGB out: float (N, 3, H, W) to (N, 3, scale·H, scale·W), about [0, 1]."""

    def __init__(
        self, scale: int, blocks: int = 16, features: int = 64, residual_scaling: float = 1.0
    ) -> None:
        super().__init__()
        self.scale = scale
        self.head = nn.Conv2d(3, features, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualBlock(features, residual_scaling) for _ in range(blocks)))
        self.body_end = nn.Conv2d(features, features, 3, padding=1)
        self.enlarge = nn.Sequential(
            *(subpixel_convolution(features, factor) for factor in subpixel_factors(scale))
        )
        self.tail = nn.Conv2d(features, 3, 3, padding=1)
        self.bicubic = Bicubic(scale)
        zero(self.tail)

    @property
    def receptive_radius_px(self) -> int:
        """LR pixels on each side that an output pixel can depend on.

        One for the head, two for each block, one for the body's end, and below two for all that follows.
        """
        return 2 * len(self.blocks) + 4

    def forward(self, rgb_NCHW: Tensor) -> Tensor:
        shallow = self.head(rgb_NCHW - 0.5)
        deep = shallow + self.body_end(self.blocks(shallow))
        sr_NCHW: Tensor = self.tail(self.enlarge(deep)) + self.bicubic(rgb_NCHW)
        return sr_NCHW


def zero(convolution: nn.Conv2d) -> None:
    """Let a convolution begin with no effect."""
    nn.init.zeros_(convolution.weight)
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
