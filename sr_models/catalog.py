"""The networks that a manifest may name: a written-out table."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from sr_models.bicubic import Bicubic
from sr_models.edsr import EDSR
from sr_models.espcn import ESPCN
from sr_models.srgan_bottleneck import BottleneckGenerator
from sr_models.srresnet import SRResNet

ARCHITECTURES: Mapping[str, Callable[..., nn.Module]] = {
    "bicubic": Bicubic,
    "edsr": EDSR,
    "espcn": ESPCN,
    "srgan-bottleneck": BottleneckGenerator,
    "srresnet": SRResNet,
}


class UnknownArchitectureError(ValueError):
    """The manifest names a network that this software does not have: upgrade it."""


def build(architecture: str, hyperparameters: Mapping[str, Any]) -> nn.Module:
    """The network, freshly initialised. Raises UnknownArchitectureError or ValueError.

    >>> build("espcn", {"scale": 2}).scale
    2
    """
    if architecture not in ARCHITECTURES:
        raise UnknownArchitectureError(
            f"network {architecture!r} is unknown; this software has {', '.join(sorted(ARCHITECTURES))}"
        )
    try:
        return ARCHITECTURES[architecture](**hyperparameters)
    except (
        ArithmeticError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:  # torch's are of any kind
        raise ValueError(f"{architecture} does not take {hyperparameters}: {error}") from error
