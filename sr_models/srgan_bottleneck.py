"""SRGAN-bottleneck: a deeper, cheaper generator of bottleneck residual blocks, with sharpening after it if wanted.

Paper of the blocks: K. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016,
arXiv:1512.03385 (figure 5, right): 1x1 to a quarter of the features, 3x3 there, 1x1 back.
Original code: none; this combination is ours, the rest is as in `sr_models.edsr`.
Licence of the published weights: Apache-2.0 (trained on openly licensed photographs only).

Layers: a 3x3 head, `blocks` bottleneck blocks, a 3x3 convolution to half of the features,
sub-pixel convolutions (x2 twice for x4, x3 once), a 3x3 tail, the bicubically enlarged input added, which keeps the
colour where a GAN lets the detail wander, and the sharpening. Zeros beyond the border at every convolution.

Deviations from the paper:
- No batch norm: in a generator it makes artefacts. LeakyReLU with slope 0.2 in place of ReLU, and none after the sum.
- The last convolution of each block and the tail start at zero, so that training starts at the
  bicubic picture; sub-pixel convolutions start as ICNR (Aitken et al. 2017, arXiv:1707.02937).

Cost for a 1280x720 result: x4 796,931 parameters and 73 G multiply-adds, x3 833,859 and 86 G,
x2 649,219 and 150 G.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sr_models.bicubic import Bicubic
from sr_models.edsr import zero
from sr_models.subpixel import subpixel_convolution, subpixel_factors

NEGATIVE_SLOPE = 0.2


class BottleneckBlock(nn.Module):
    """float (N, C, H, W) to the same shape."""

    def __init__(self, features: int) -> None:
        super().__init__()
        narrow = features // 4
        self.reduce = nn.Conv2d(features, narrow, 1)
        self.convolve = nn.Conv2d(narrow, narrow, 3, padding=1)
        self.expand = nn.Conv2d(narrow, features, 1)
        zero(self.expand)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        reduced = F.leaky_relu(self.reduce(x_NCHW), NEGATIVE_SLOPE)
        branch: Tensor = self.expand(F.leaky_relu(self.convolve(reduced), NEGATIVE_SLOPE))
        return x_NCHW + branch


class UnsharpMask(nn.Module):
    """Add `strength` times what a small blur takes away: float (N, C, H, W) to the same shape.

    The blur is 3x3 binomial, a Gaussian of sigma 0.71 px, with the border repeated: flat areas stay, also at the border.
    """

    kernel: Tensor

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength
        taps = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("kernel", torch.outer(taps, taps)[None, None], persistent=False)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        channels = x_NCHW.shape[1]
        bordered = F.pad(x_NCHW, (1, 1, 1, 1), mode="replicate")
        blurred = F.conv2d(bordered, self.kernel.expand(channels, 1, 3, 3), groups=channels)
        return x_NCHW + self.strength * (x_NCHW - blurred)


class BottleneckGenerator(nn.Module):
    """RGB in, RGB out: float (N, 3, H, W) to (N, 3, scale·H, scale·W), about [0, 1].

    `features`: a multiple of 4. `sharpen`: the strength of the unsharp mask, which the weights do not depend
    on, so that it may be chosen after training; 0 leaves it out.
    """

    def __init__(self, scale: int, blocks: int = 24, features: int = 128, sharpen: float = 0.0) -> None:
        super().__init__()
        if features % 4:
            raise ValueError(f"a bottleneck needs a multiple of 4 features, not {features}")
        self.scale = scale
        self.head = nn.Conv2d(3, features, 3, padding=1)
        self.blocks = nn.Sequential(*(BottleneckBlock(features) for _ in range(blocks)))
        self.body_end = nn.Conv2d(features, features // 2, 3, padding=1)
        self.enlarge = nn.Sequential(
            *(subpixel_convolution(features // 2, factor) for factor in subpixel_factors(scale))
        )
        self.tail = nn.Conv2d(features // 2, 3, 3, padding=1)
        self.bicubic = Bicubic(scale)
        self.sharpening = UnsharpMask(sharpen) if sharpen else nn.Identity()
        zero(self.tail)

    @property
    def receptive_radius_px(self) -> int:
        """LR pixels on each side that an output pixel can depend on, sharpened or not.

        One each for the head, every block and the body's end, two for all that follows.
        """
        return len(self.blocks) + 4

    def forward(self, rgb_NCHW: Tensor) -> Tensor:
        deep = self.body_end(self.blocks(self.head(rgb_NCHW - 0.5)))
        sr_NCHW: Tensor = self.sharpening(self.tail(self.enlarge(deep)) + self.bicubic(rgb_NCHW))
        return sr_NCHW
