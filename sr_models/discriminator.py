"""SRGAN's discriminator: is a patch a photograph's, or a generator's? For training only.

Paper: C. Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial
Network", CVPR 2017, arXiv:1609.04802.
Original code: none published; written from the paper (section 2.1.1, figure 4).

Layers: eight 3x3 convolutions of 64, 64, 128, 128, 256, 256, 512 and 512 features, every second one with stride 2,
each with batch norm but the first, each with LeakyReLU (slope 0.2); a dense layer of 1024 with LeakyReLU; one number.

Deviations from the paper:
- The sigmoid is part of the loss (BCE with logits), which is the same function without its overflow.
- Any patch size, not only the paper's 96 px; the first dense layer is as large as the patch makes it.

Cost for a patch of 96x96: 23,563,649 parameters and 0.88 G multiply-adds.
"""

from torch import Tensor, nn

from sr_models.batch_norm import ConvolutionBatchNorm

FEATURES = (64, 128, 256, 512)
NEGATIVE_SLOPE = 0.2


class Discriminator(nn.Module):
    """RGB patches in, one logit each out: float (N, 3, patch_px, patch_px) to (N, 1); above 0 means a photograph."""

    def __init__(self, patch_px: int) -> None:
        """`patch_px`: side of an HR patch."""
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, FEATURES[0], 3, padding=1), _leaky()]
        before = FEATURES[0]
        for features in FEATURES:
            if features != before:
                layers += [ConvolutionBatchNorm(before, features), _leaky()]
            layers += [ConvolutionBatchNorm(features, features, stride=2), _leaky()]
            before = features
        self.convolutions = nn.Sequential(*layers)
        left_px = -(-patch_px // 2 ** len(FEATURES))
        self.opinion = nn.Sequential(
            nn.Flatten(), nn.Linear(before * left_px**2, 1024), _leaky(), nn.Linear(1024, 1)
        )

    def forward(self, rgb_NCHW: Tensor) -> Tensor:
        logits_N1: Tensor = self.opinion(self.convolutions(rgb_NCHW))
        return logits_N1


def _leaky() -> nn.Module:
    return nn.LeakyReLU(NEGATIVE_SLOPE)
