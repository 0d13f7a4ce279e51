"""The exponential moving average of a network's weights, which is what gets scored and released."""

import copy

import torch
from torch import nn


class MovingAverage:
    """Follows a network: B. Polyak and A. Juditsky 1992; as every recipe of the field has it, with decay .999."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def follow(self, network: nn.Module, step: int) -> None:
        """Move towards the network after its update number `step`, counted from 1; batch norms' statistics too."""
        # A young average forgets fast, so that the start has no part in it.
        forget = 1.0 - min(self._decay, step / (step + 10))
        current = network.state_dict()
        for name, mean in self.network.state_dict().items():
            if mean.is_floating_point():
                mean.lerp_(current[name], forget)
            else:
                mean.copy_(current[name])
