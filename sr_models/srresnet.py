"""SRResNet: residual blocks with batch norm; SRGAN's generator is the same network under another loss.

Paper: C. Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial
Network", CVPR 2017, arXiv:1609.04802.
Original code: none published; written from the paper (section 2.1, figure 4).
Licence of the published weights: Apache-2.0 (trained on openly licensed photographs only).

Layers: a 9x9 head and PReLU, `blocks` residual blocks (3x3, batch norm, PReLU, 3x3, batch norm), a 3x3
convolution with batch norm and a skip around the body, sub-pixel convolutions each with PReLU (x2 twice
for x4, x3 once), a 9x9 tail with tanh. Zeros beyond the border at every convolution. Each PReLU
has one slope for all features. For use, `sr_models.batch_norm.fold_batch_norms` takes the batch norms out.

Deviations from the paper:
- The bicubically enlarged input is added to the output, so that the network learns what bicubic
  lacks and tanh bounds that, not the picture. The input is centred by subtracting 0.5.
- The last batch norm of each block and the tail start at zero, so that training starts at the
  bicubic picture; sub-pixel convolutions start as ICNR (Aitken et al. 2017, arXiv:1707.02937).

Cost for a 1280x720 result: x4 1,547,350 parameters and 128 G multiply-adds, x3 1,584,277 and 174 G,
x2 1,399,637 and 332 G; folded, x4 has 1,545,238 parameters.
"""

from typing import Self, cast

import torch
from torch import Tensor, nn

from sr_models import edsr
from sr_models.batch_norm import ConvolutionBatchNorm
from sr_models.bicubic import Bicubic
from sr_models.subpixel import subpixel_convolution, subpixel_factors


class ResidualBlock(nn.Module):
    """float (N, C, H, W) to the same shape."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = ConvolutionBatchNorm(features, features)
        self.activation = nn.PReLU()
        self.second = ConvolutionBatchNorm(features, features)
        nn.init.zeros_(self.second.norm.weight)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        branch: Tensor = self.second(self.activation(self.first(x_NCHW)))
        return x_NCHW + branch


class SRResNet(nn.Module):
    """RGB in, RGB out: float (N, 3, H, W) to (N, 3, scale·H, scale·W), about [0, 1]."""

    def __init__(self, scale: int, blocks: int = 16, features: int = 64) -> None:
        super().__init__()
        self.scale = scale
        self.head = nn.Conv2d(3, features, 9, padding=4)
        self.head_activation = nn.PReLU()
        self.blocks = nn.Sequential(*(ResidualBlock(features) for _ in range(blocks)))
        self.body_end = ConvolutionBatchNorm(features, features)
        self.enlarge = nn.Sequential(
            *(
                nn.Sequential(*subpixel_convolution(features, factor), nn.PReLU())
                for factor in subpixel_factors(scale)
            )
        )
        self.tail = nn.Conv2d(features, 3, 9, padding=4)
        self.bicubic = Bicubic(scale)
        edsr.zero(self.tail)

    @property
    def receptive_radius_px(self) -> int:
        """LR pixels on each side that an output pixel can depend on.

        Four for the head, two for each block, one for the body's end, three for all that follows.
        """
        return 2 * len(self.blocks) + 8

    def forward(self, rgb_NCHW: Tensor) -> Tensor:
        shallow = self.head_activation(self.head(rgb_NCHW - 0.5))
        deep = shallow + self.body_end(self.blocks(shallow))
        sr_NCHW: Tensor = torch.tanh(self.tail(self.enlarge(deep))) + self.bicubic(rgb_NCHW)
        return sr_NCHW

    @classmethod
    @torch.no_grad()
    def from_edsr(cls, teacher: edsr.EDSR) -> Self:
        """The SRResNet that computes what an EDSR does, at rest and but for the tanh of the last sum.

        Idea: T. Chen et al., "Net2Net", ICLR 2016, arXiv:1511.05641. 3x3 kernels stand in the middle of 9x9 ones, a
        PReLU is a ReLU with slope 0 and nothing with slope 1, a batch norm only adds its convolution's bias. Before
        training, `sr_models.batch_norm.calibrate_batch_norms` has to make the batch norms fit real pictures.
        """
        network = cls(teacher.scale, len(teacher.blocks), teacher.head.out_channels)
        _embed(network.head, teacher.head)
        nn.init.ones_(network.head_activation.weight)
        for ours, theirs in zip(network.blocks, teacher.blocks, strict=True):
            ours, theirs = cast(ResidualBlock, ours), cast(edsr.ResidualBlock, theirs)
            _imitate(ours.first, theirs.first)
            nn.init.zeros_(ours.activation.weight)
            _imitate(ours.second, theirs.second, theirs.residual_scaling)
        _imitate(network.body_end, teacher.body_end)
        for step, convolution_and_shuffle in zip(network.enlarge, teacher.enlarge, strict=True):
            convolution, _, activation = cast(nn.Sequential, step)
            convolution.load_state_dict(cast(nn.Sequential, convolution_and_shuffle)[0].state_dict())
            nn.init.ones_(cast(nn.PReLU, activation).weight)
        _embed(network.tail, teacher.tail)
        return network


def _embed(large: nn.Conv2d, small: nn.Conv2d) -> None:
    """Let a 9x9 convolution be a 3x3 one."""
    nn.init.zeros_(large.weight)
    large.weight[:, :, 3:6, 3:6] = small.weight
    large.bias.copy_(small.bias)  # type: ignore[union-attr, arg-type]


def _imitate(ours: ConvolutionBatchNorm, theirs: nn.Conv2d, scaling: float = 1.0) -> None:
    """Let a convolution with batch norm be one with bias, times `scaling`."""
    assert theirs.bias is not None
    assert ours.norm.running_var is not None
    ours.convolution.weight.copy_(theirs.weight)
    ours.norm.running_var.fill_(1.0 - ours.norm.eps)
    ours.norm.weight.fill_(scaling)
    ours.norm.bias.copy_(theirs.bias * scaling)
