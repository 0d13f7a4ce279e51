"""Perceptual distance between two pictures: ST-LPIPS, and LPIPS where its weights are given.

Papers: A. Ghildyal and F. Liu, "Shift-tolerant Perceptual Similarity Metric", ECCV 2022, arXiv:2207.13686;
R. Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018, arXiv:1801.03924.
Original code: https://github.com/abhijay9/ShiftTolerant-LPIPS and https://github.com/richzhang/PerceptualSimilarity;
this is written from the papers and the shapes of the weights.
Licence of the weights: BSD-2-Clause (ST-LPIPS, inside the wheel stlpips-pytorch); LPIPS's are not distributed here.

Both compare the activations of AlexNet's five convolutions, each pixel's channels scaled to length one: squared
difference, a trained weight for each channel, mean over the pixels, sum over the five. The shift-tolerant
AlexNet has no stride in its first convolution, reduces by a blur with reflected borders instead, also
after each max-pooling, and so hardly sees a picture moved by a pixel.
"""

import importlib.util
import logging
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

UInt8Array = npt.NDArray[np.uint8]

WHEEL = "stlpips_pytorch"
"""The package whose wheel carries the weights."""

MIN_SIDE_PX = 21
"""Smaller pictures vanish in the shift-tolerant network's reductions."""

# What ImageNet's mean and deviation are for samples in -1..1.
_MEAN = (-0.030, -0.088, -0.188)
_DEVIATION = (0.458, 0.448, 0.450)

log = logging.getLogger(__name__)


class PerceptualWeightsError(ValueError):
    """The file holds no LPIPS network: write it with `torch.save(lpips.LPIPS(net="alex").state_dict(), FILE)`."""


class Blur(nn.Module):
    """A 3x3 binomial filter at every second pixel."""

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Float (N, C, H, W) to about half the height and width; the border is reflected by two pixels."""
        channels = x_NCHW.shape[1]
        taps = x_NCHW.new_tensor([0.25, 0.5, 0.25])
        kernel = torch.outer(taps, taps).expand(channels, 1, 3, 3)
        return F.conv2d(F.pad(x_NCHW, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=channels)


class PerceptualDistance(nn.Module):
    """The distance that the activations of a network's stages define."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, stages: Sequence[nn.Sequential], weights: Mapping[str, Tensor]) -> None:
        """`stages`: one convolution in each. `weights`: named as both originals name theirs. Raises PerceptualWeightsError."""
        super().__init__()
        self.stages, self.heads = nn.ModuleList(stages), nn.ParameterList()
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None])
        self.register_buffer("deviation", torch.tensor(_DEVIATION)[:, None, None])
        try:
            for number, stage in enumerate(stages):
                [convolution] = (layer for layer in stage if isinstance(layer, nn.Conv2d))
                of_slice = rf"net\.slice{number + 1}\.\d+\."
                convolution.load_state_dict(
                    {name: _only(weights, of_slice + name) for name in ("weight", "bias")}
                )
                head = _only(weights, rf"lin{number}\.model\.\d+\.weight")
                self.heads.append(head.reshape(1, convolution.out_channels, 1, 1))
        except (ValueError, RuntimeError) as error:
            raise PerceptualWeightsError(f"not the weights of an LPIPS network: {error}") from error
        self.eval().requires_grad_(False)

    @torch.inference_mode()
    def activations(self, rgb_HWC: UInt8Array) -> list[Tensor]:
        """What two pictures are compared by: uint8 RGB, no side below MIN_SIDE_PX, to a float (1, C, h, w) for each stage."""
        samples = torch.from_numpy(np.require(rgb_HWC, requirements=["C", "W"])).to(self.mean.device)
        x = (samples.permute(2, 0, 1)[None].float() / 127.5 - 1.0 - self.mean) / self.deviation
        compared = []
        for stage in self.stages:
            x = stage(x)
            compared.append(x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10))
        return compared

    @torch.inference_mode()
    def between(self, a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
        """The distance of two pictures of one size, from their activations: 0 for equal ones."""
        stages = zip(self.heads, a, b, strict=True)
        return sum(F.conv2d((x - y).square(), head).mean().item() for head, x, y in stages)


def shift_tolerant_alexnet() -> list[nn.Sequential]:
    """The stages of ST-LPIPS."""
    return [
        nn.Sequential(nn.Conv2d(3, 64, 11, padding=2), Blur(), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(3, stride=1), Blur(), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(3, stride=1), Blur(), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    ]


def alexnet() -> list[nn.Sequential]:
    """The stages of LPIPS: AlexNet as A. Krizhevsky made it in 2014 (arXiv:1404.5997)."""
    return [
        nn.Sequential(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(3, stride=2), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(3, stride=2), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
    ]


@cache
def st_lpips() -> PerceptualDistance | None:
    """ST-LPIPS with the weights inside the wheel stlpips-pytorch; None where that is not installed, which is logged once.

    The package itself is never imported: it needs torchvision.
    """
    package = importlib.util.find_spec(WHEEL)
    if package is None or package.origin is None:
        log.warning("ST-LPIPS is left out: its weights are in a wheel; pip install stlpips-pytorch==0.0.2")
        return None
    weights = Path(package.origin).parent / "weights" / "vST0.0" / "alex_shift_tolerant.pth"
    return PerceptualDistance(shift_tolerant_alexnet(), _read(weights))


def lpips(file: Path) -> PerceptualDistance:
    """LPIPS (alex, version 0.1) with the weights in `file`, .pth or .safetensors, backbone and heads. Raises PerceptualWeightsError."""
    return PerceptualDistance(alexnet(), _read(file))


def _read(file: Path) -> Mapping[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(file)
        weights = torch.load(file, weights_only=True, map_location="cpu")
    except Exception as error:  # torch.load promises no set of errors for a damaged file
        raise PerceptualWeightsError(f"{file} cannot be read as weights: {error}") from error
    if not isinstance(weights, Mapping):
        raise PerceptualWeightsError(f"{file} holds no table of weights")
    return weights


def _only(weights: Mapping[str, Tensor], pattern: str) -> Tensor:
    """The one tensor whose name matches."""
    found = [tensor for name, tensor in weights.items() if re.fullmatch(pattern, name)]
    if len(found) != 1:
        raise ValueError(f"{len(found)} tensors are named {pattern}, not one")
    return found[0]
