"""Batch norm beside its convolution: folded into it for use, and set to what really flows through it.

Paper: S. Ioffe, C. Szegedy, "Batch Normalization", ICML 2015, arXiv:1502.03167. At rest (in evaluation mode) a
batch norm only scales and shifts each channel, which the convolution before it can do itself.
"""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class ConvolutionBatchNorm(nn.Module):
    """A 3x3 convolution without bias and its batch norm: float (N, C, H, W) to (N, D, H/stride, W/stride), rounded up."""

    def __init__(self, in_features: int, out_features: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_features, out_features, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(out_features)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        normed: Tensor = self.norm(self.convolution(x_NCHW))
        return normed


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """An equal network at rest, in which one convolution with bias does the work of every ConvolutionBatchNorm.

    A network without any is returned as it is; another is not changed.
    """
    if not any(isinstance(module, ConvolutionBatchNorm) for module in network.modules()):
        return network
    return _folded(copy.deepcopy(network).eval())


def _folded(module: nn.Module) -> nn.Module:
    if isinstance(module, ConvolutionBatchNorm):
        return fuse_conv_bn_eval(module.convolution, module.norm)
    for name, child in module.named_children():
        setattr(module, name, _folded(child))
    return module


@torch.no_grad()
def calibrate_batch_norms(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Let every batch norm's mean and variance be those of its input, and weight and bias make up for it.

    What the network computes at rest stays the same, and in training, with each batch's own statistics, it becomes
    nearly the same. Networks whose batch norms were made, not trained (`SRResNet.from_edsr`), need it.
    `batches`: what the network is called with. Raises ValueError where there is none.
    """
    sums = {norm: _Sums() for norm in network.modules() if isinstance(norm, nn.BatchNorm2d)}
    hooks = [norm.register_forward_pre_hook(partial(_add_input, sums)) for norm in sums]
    was_training = network.training
    network.eval()
    try:
        for batch_NCHW in batches:
            network(batch_NCHW)
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    for norm, measured in sums.items():
        if not measured.count:
            raise ValueError("batch norms cannot be calibrated without a batch: give at least one")
        _set_statistics(norm, measured)


@dataclass
class _Sums:
    """Of each channel's values and their squares; in float64, so that the variance keeps its digits."""

    count: int = 0
    values: Tensor = field(default_factory=lambda: torch.zeros(()))
    squares: Tensor = field(default_factory=lambda: torch.zeros(()))


def _add_input(sums: dict[nn.BatchNorm2d, _Sums], norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
    x_NCHW, of_norm = inputs[0].double(), sums[norm]
    of_norm.count += x_NCHW.numel() // x_NCHW.shape[1]
    of_norm.values = of_norm.values.to(x_NCHW) + x_NCHW.sum(dim=(0, 2, 3))
    of_norm.squares = of_norm.squares.to(x_NCHW) + x_NCHW.square().sum(dim=(0, 2, 3))


def _set_statistics(norm: nn.BatchNorm2d, measured: _Sums) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean = measured.values / measured.count
    variance = (measured.squares / measured.count - mean.square()).clamp_(min=0.0)
    slope = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    norm.bias.add_(slope * (mean - norm.running_mean.double()))
    norm.weight.copy_(slope * (variance + norm.eps).sqrt())
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
