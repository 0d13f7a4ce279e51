import logging
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from tests.unit.training.conftest import soft_noise
from training import stlpips
from training.dataset import UInt8Array
from training.stlpips import MIN_SIDE_PX, PerceptualDistance, PerceptualWeightsError, lpips, st_lpips


def golden_picture() -> UInt8Array:
    y, x, c = np.mgrid[0:48, 0:61, 0:3]
    picture: UInt8Array = ((x * x * (c + 1) + 7 * y * (c + 2) + x * y) % 256).astype(np.uint8)
    return picture


def between(metric: PerceptualDistance | None, a: UInt8Array, b: UInt8Array) -> float:
    assert metric is not None, "stlpips-pytorch is not installed"
    return metric.between(metric.activations(a), metric.activations(b))


def lpips_weights() -> dict[str, Tensor]:
    """Weights that any version of torch makes alike, named as `lpips.LPIPS(net="alex")` names its own."""
    weights: dict[str, Tensor] = {}
    layers = {
        "net.slice1.0": (64, 3, 11, 11),
        "net.slice2.3": (192, 64, 5, 5),
        "net.slice3.6": (384, 192, 3, 3),
        "net.slice4.8": (256, 384, 3, 3),
        "net.slice5.10": (256, 256, 3, 3),
    }
    for number, (name, shape) in enumerate(layers.items()):
        inputs = shape[1] * shape[2] * shape[3]
        position = torch.arange(shape[0] * inputs, dtype=torch.float64)
        weights[f"{name}.weight"] = torch.sin(position**2 * 0.37 + number).reshape(shape).float()
        weights[f"{name}.weight"] *= (6 / inputs) ** 0.5
        weights[f"{name}.bias"] = torch.sin(position[: shape[0]] * 1.3).float() * 0.1
        head = torch.cos(position[: shape[0]]).float().abs().reshape(1, -1, 1, 1)
        weights[f"lin{number}.model.1.weight"] = weights[f"lins.{number}.model.1.weight"] = head
    return weights


def test_st_lpips_is_what_the_authors_package_computes() -> None:
    """Their `LPIPS(net="alex", variant="shift_tolerant")`, version 0.0.2, gave these numbers."""
    picture = golden_picture()
    flipped, shifted = between(st_lpips(), picture, picture[::-1]), picture[:, 1:]
    assert flipped == pytest.approx(0.0799168, abs=2e-6)
    assert between(st_lpips(), shifted, picture[:, :-1]) == pytest.approx(0.0142534, abs=2e-6)


def test_lpips_is_what_the_authors_network_computes(tmp_path: Path) -> None:
    """With these made-up weights, their `LPIPS(net="alex")`, version 0.1, gave this number."""
    picture, weights = golden_picture(), lpips_weights()
    torch.save(weights, tmp_path / "lpips.pth")
    assert between(lpips(tmp_path / "lpips.pth"), picture, picture[::-1]) == pytest.approx(1.174432, abs=2e-5)
    safetensors.torch.save_file(
        {name: tensor.clone() for name, tensor in weights.items()}, tmp_path / "lpips.safetensors"
    )
    from_safetensors = lpips(tmp_path / "lpips.safetensors")
    assert between(from_safetensors, picture, picture[::-1]) == pytest.approx(1.174432, abs=2e-5)


def test_equal_pictures_have_no_distance_and_noise_has_one() -> None:
    picture = soft_noise(0, MIN_SIDE_PX, 40)
    noise = np.random.default_rng(0).normal(scale=20, size=picture.shape)
    noisy = (picture + noise).clip(0, 255).astype(np.uint8)
    assert between(st_lpips(), picture, picture) == 0.0
    assert between(st_lpips(), picture, noisy) > 0.01


def test_without_the_wheel_the_score_is_left_out_and_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stlpips, "WHEEL", "a_wheel_that_nobody_installed")
    st_lpips.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            assert st_lpips() is None
            assert st_lpips() is None
    finally:
        st_lpips.cache_clear()
    assert [record.message for record in caplog.records] == [
        "ST-LPIPS is left out: its weights are in a wheel; pip install stlpips-pytorch==0.0.2"
    ]


def test_a_file_without_such_weights_is_refused(tmp_path: Path) -> None:
    damaged, other, half = tmp_path / "damaged.pth", tmp_path / "other.pth", tmp_path / "half.pth"
    damaged.write_bytes(b"not weights")
    torch.save([1, 2], other)
    torch.save({"net.slice1.0.weight": torch.zeros(64, 3, 11, 11)}, half)
    with pytest.raises(PerceptualWeightsError, match=r"damaged\.pth cannot be read as weights"):
        lpips(damaged)
    with pytest.raises(PerceptualWeightsError, match=r"other\.pth holds no table of weights"):
        lpips(other)
    with pytest.raises(PerceptualWeightsError, match=r"0 tensors are named .*slice1.*bias, not one"):
        lpips(half)
