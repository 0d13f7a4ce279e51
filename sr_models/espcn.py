"""ESPCN: an efficient sub-pixel convolutional network.

Paper: W. Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient
Sub-Pixel Convolutional Neural Network", CVPR 2016, arXiv:1609.05158.
Original code: none published; written from the paper.
Licence of the published weights: Apache-2.0 (trained on openly licensed photographs only).

Layers (section 3.2): 64 filters of 5x5, 32 of 3x3, r² of 3x3, tanh after the first two,
then the sub-pixel convolution's shuffle. One channel in and out: BT.601 luma.

Deviations from the paper:
- The picture's border is replicated by 4 px once, before the first layer, and the
  convolutions are unpadded. The paper does not say what it does; zeros darken the border.
- The input is centred by subtracting 0.5 and the output moved back, so that tanh works
  around its linear point.
- The last layer starts as ICNR (Aitken et al. 2017, arXiv:1707.02937): its r² phases begin
  equal, so that training starts without a checkerboard.

Cost: x4 has 24,752 parameters; 24,640 multiply-adds for each LR pixel.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class ESPCN(nn.Module):
    """Luma in, luma out: float (N, 1, H, W) to (N, 1, scale·H, scale·W), about [0, 1]."""

    receptive_radius_px = 4
    """LR pixels on each side that an output pixel depends on: 2 + 1 + 1."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.features = nn.Conv2d(1, 64, 5)
        self.mapping = nn.Conv2d(64, 32, 3)
        self.subpixel = nn.Conv2d(32, scale**2, 3)
        one_phase = self.subpixel.weight.data[:1]
        self.subpixel.weight.data.copy_(one_phase.expand_as(self.subpixel.weight))
        nn.init.zeros_(self.subpixel.bias)  # type: ignore[arg-type]

    def forward(self, luma_N1HW: Tensor) -> Tensor:
        border = (self.receptive_radius_px,) * 4
        x = F.pad(luma_N1HW, border, mode="replicate") - 0.5
        x = self.features(x).tanh()
        x = self.mapping(x).tanh()
        return F.pixel_shuffle(self.subpixel(x), self.scale) + 0.5
