"""Distance between pictures as a network sees them that was trained to recognise things.

Papers: J. Johnson et al., "Perceptual Losses for Real-Time Style Transfer and Super-Resolution", 2016,
arXiv:1603.08155; features before the ReLU: X. Wang et al., "ESRGAN", 2018, arXiv:1809.00219. The networks: K. Simonyan
and A. Zisserman, 2014, arXiv:1409.1556.

VGG16: the file that `python -m training fetch vgg16` writes (keys `conv1_1.weight` …, input BGR 0..255 minus the
mean colour, as Caffe had it). VGG19: torchvision's file (keys `features.0.weight` …, input RGB, mean and deviation).
Layers are named for their block and place: SRGAN's φ5,4 is `conv5_4` of VGG19, its φ2,2 `conv2_2`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PerceptualWeightsError(ValueError):
    """The perceptual network's weights cannot be used: get them with `python -m training fetch vgg16`, or name them with --perceptual."""


@dataclass(frozen=True)
class _Input:
    """What a network expects of RGB in [0, 1]: reordered, times `factor`, minus `mean`, over `deviation`."""

    channels: tuple[int, int, int]
    factor: float
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


_CAFFE = _Input((2, 1, 0), 255.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0))
_TORCHVISION = _Input((0, 1, 2), 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

_CONVOLUTIONS_PER_BLOCK = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}


class VGGFeatures(nn.Module):
    """RGB float (N, 3, H, W) in [0, 1] to the features of some layers, before their ReLU: {layer: float (N, C, h, w)}."""

    def __init__(self, tensors: Mapping[str, Tensor], names: list[str], seen: _Input) -> None:
        super().__init__()
        self._names, self._seen = names, seen
        for name in names:
            weight = tensors[f"{name}.weight"].float()
            convolution = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
            convolution.load_state_dict({"weight": weight, "bias": tensors[f"{name}.bias"].float()})
            self.add_module(name, convolution)
        self.eval().requires_grad_(False)

    def forward(self, rgb_NCHW: Tensor) -> dict[str, Tensor]:  # noqa: D102
        seen = self._seen
        x = rgb_NCHW[:, seen.channels] * seen.factor
        x = (x - x.new_tensor(seen.mean)[:, None, None]) / x.new_tensor(seen.deviation)[:, None, None]
        features = {}
        for name in self._names:
            if name.endswith("_1") and name != "conv1_1":
                x = F.max_pool2d(x, 2)
            features[name] = self.get_submodule(name)(x)
            x = features[name].relu()
        return features


def load_features(network: str, path: Path, last_layer: str) -> VGGFeatures:
    """The network from its first layer to `last_layer`. Raises PerceptualWeightsError, ValueError for an unknown layer."""
    names = [
        f"conv{block}_{place}"
        for block, count in enumerate(_CONVOLUTIONS_PER_BLOCK[network], start=1)
        for place in range(1, count + 1)
    ]
    if last_layer not in names:
        raise ValueError(f"{network} has no layer {last_layer!r}; it has {', '.join(names)}")
    tensors = _read(path)
    seen = _CAFFE if f"{names[0]}.weight" in tensors else _TORCHVISION
    if seen is _TORCHVISION:
        tensors = _renamed(tensors, names)
    _demand(tensors, names, network, path)
    return VGGFeatures(tensors, names[: names.index(last_layer) + 1], seen)


def _renamed(tensors: Mapping[str, Tensor], names: list[str]) -> dict[str, Tensor]:
    """Under the names of VGG's layers: torchvision numbers convolutions, ReLUs and pools together, `features.0` is `conv1_1`."""
    called, number = {}, 0
    for name in names:
        number += name.endswith("_1") and name != "conv1_1"  # a pool
        called[f"features.{number}"] = name
        number += 2  # the convolution and its ReLU
    convolutions = (
        (key.rpartition("."), tensor) for key, tensor in tensors.items() if key.startswith("features.")
    )
    return {f"{called.get(layer, layer)}.{part}": tensor for (layer, _, part), tensor in convolutions}


def _demand(tensors: Mapping[str, Tensor], names: list[str], network: str, path: Path) -> None:
    """Raises PerceptualWeightsError unless the file has exactly the network's convolutions, and each follows on the one before."""
    there = {key.removesuffix(".weight") for key in tensors if key.endswith(".weight")}
    if there != set(names):
        wrong = ", ".join(sorted(there ^ set(names)))
        raise PerceptualWeightsError(f"{path} is no {network}: {wrong} should be there, or should not")
    inputs = 3
    for name in names:
        weight, bias = tensors[f"{name}.weight"], tensors.get(f"{name}.bias")
        if (
            weight.ndim != 4
            or weight.shape[1:] != (inputs, 3, 3)
            or bias is None
            or bias.shape != weight.shape[:1]
        ):
            raise PerceptualWeightsError(
                f"{path} is no {network}: {name} has not the shape of its convolution"
            )
        inputs = weight.shape[0]


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        tensors = torch.load(path, weights_only=True, map_location="cpu")
        return {key: tensor for key, tensor in tensors.items() if isinstance(tensor, Tensor)}
    except Exception as error:  # neither reader promises a set of errors for a damaged file
        raise PerceptualWeightsError(
            f"the perceptual network's weights cannot be read from {path}: {error}; "
            "get them with `python -m training fetch vgg16`, or name them with --perceptual"
        ) from error


class PerceptualLoss(nn.Module):
    """The weighted sum over layers of the L1 distance between features."""

    def __init__(self, features: VGGFeatures, layers: Mapping[str, float]) -> None:
        super().__init__()
        self._features, self._layers = features, layers

    def forward(self, sr_NCHW: Tensor, hr_NCHW: Tensor) -> Tensor:  # noqa: D102
        of_sr = self._features(sr_NCHW)
        with torch.no_grad():
            of_hr = self._features(hr_NCHW)
        distances = [F.l1_loss(of_sr[layer], of_hr[layer]) * weight for layer, weight in self._layers.items()]
        return torch.stack(distances).sum()
