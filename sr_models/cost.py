"""What a network costs: trained numbers, and the multiply-adds of its trained layers, as papers state them.

Fixed kernels (the bicubic picture that is added, sharpening), activations and sums are left out, as in the papers. The
bicubic picture is 0.06 % of EDSR-baseline x4.
"""

from itertools import chain

import torch
from torch import Tensor, nn
from torch.func import functional_call


def parameters(network: nn.Module) -> int:
    """How many trained numbers the network has; with its batch norms, where they are not folded."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(network: nn.Module, lr_height_px: int, lr_width_px: int) -> int:
    """Of the trained convolutions and dense layers, for one picture of that size.

    A luma network's are its own, without the bicubic chroma around it. Nothing is computed, and the network stays as it is.
    """
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    if not layers:
        return 0
    counts: list[int] = []

    def count(layer: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        weight, outputs_of_one_use = layer.weight, output.shape[1]
        assert isinstance(weight, Tensor)
        counts.append(weight.numel() * output.numel() // outputs_of_one_use)

    hooks = [layer.register_forward_hook(count) for layer in layers]
    shapes_only = {
        name: tensor.detach().to("meta")
        for name, tensor in chain(network.named_parameters(), network.named_buffers())
    }
    picture_NCHW = torch.empty(1, layers[0].weight.shape[1], lr_height_px, lr_width_px, device="meta")
    try:
        functional_call(network, shapes_only, picture_NCHW)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(counts)
