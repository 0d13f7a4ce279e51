"""Sub-pixel convolution: r² feature maps for each output map, shuffled into a picture r times as large.

Paper: W. Shi et al. 2016, arXiv:1609.05158. Initialisation: ICNR, A. Aitken et al., "Checkerboard
artifact free sub-pixel convolution", 2017, arXiv:1707.02937: the r² phases begin equal.
"""

from torch import nn


def subpixel_factors(scale: int) -> list[int]:
    """The steps by which networks of the EDSR and SRResNet kind enlarge.

    >>> subpixel_factors(2), subpixel_factors(3), subpixel_factors(4)
    ([2], [3], [2, 2])
    """
    return [2, 2] if scale == 4 else [scale]


def subpixel_convolution(features: int, factor: int) -> nn.Sequential:
    """A 3x3 convolution and its shuffle: (N, C, H, W) to (N, C, factor·H, factor·W)."""
    convolution = nn.Conv2d(features, features * factor**2, 3, padding=1)
    start_as_icnr(convolution, factor)
    return nn.Sequential(convolution, nn.PixelShuffle(factor))


def start_as_icnr(convolution: nn.Conv2d, factor: int) -> None:
    """Let the phases of each output map begin equal: nearest-neighbour enlargement of one convolution."""
    phases = factor**2
    first = convolution.weight.data[::phases]
    convolution.weight.data.copy_(first.repeat_interleave(phases, dim=0))
    nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
