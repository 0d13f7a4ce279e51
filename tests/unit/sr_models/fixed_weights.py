"""Weights and pictures that every test sees alike, whatever the version of torch."""

import torch
from torch import Tensor, nn


def with_fixed_weights(network: nn.Module) -> nn.Module:
    """Weights that any version of torch makes alike; float64."""
    for number, parameter in enumerate(network.double().parameters()):
        values = torch.sin(torch.arange(parameter.numel(), dtype=torch.float64) * 0.7 + number) * 0.1
        parameter.data = values.reshape(parameter.shape)
    return network.eval()


def with_random_weights(network: nn.Module, deviation: float = 0.05) -> nn.Module:
    """Also where the network starts at zero, and batch norms as after some training."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=deviation)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
            nn.init.normal_(module.weight, mean=1.0, std=0.2)
    return network.eval()


def ramp(channels: int, height: int, width: int) -> Tensor:
    """A picture that any version of torch makes alike: float64 (1, C, H, W) in [0, 1]."""
    values = torch.cos(torch.arange(channels * height * width, dtype=torch.float64) * 0.37) * 0.5 + 0.5
    return values.reshape(1, channels, height, width)
