from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from training.perceptual import PerceptualLoss, PerceptualWeightsError, load_features

BLOCKS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}


def layers(network: str) -> list[str]:
    return [f"conv{b}_{p}" for b, count in enumerate(BLOCKS[network], 1) for p in range(1, count + 1)]


def tensors(network: str) -> dict[str, Tensor]:
    """Few channels: else the shape of the real thing."""
    torch.manual_seed(0)
    made, inputs = {}, 3
    for name in layers(network):
        made[f"{name}.weight"], made[f"{name}.bias"] = torch.randn(4, inputs, 3, 3), torch.randn(4)
        inputs = 4
    return made


def as_torchvision(weights: dict[str, Tensor], network: str) -> dict[str, Tensor]:
    """torchvision numbers convolutions, ReLUs and pools together."""
    renamed, number = {}, 0
    for name in layers(network):
        number += name.endswith("_1") and name != "conv1_1"  # a pool
        for part in ("weight", "bias"):
            renamed[f"features.{number}.{part}"] = weights[f"{name}.{part}"]
        number += 2  # the convolution and its ReLU
    return renamed | {"classifier.0.weight": torch.zeros(1)}


def test_vgg16_by_hand(tmp_path: Path) -> None:
    weights = tensors("vgg16")
    safetensors.torch.save_file(weights, tmp_path / "vgg16.safetensors")
    features = load_features("vgg16", tmp_path / "vgg16.safetensors", "conv2_1")
    rgb = torch.rand(1, 3, 8, 8)
    bgr = torch.stack([rgb[:, 2] * 255 - 103.939, rgb[:, 1] * 255 - 116.779, rgb[:, 0] * 255 - 123.68], 1)
    x = bgr
    for name in ("conv1_1", "conv1_2"):
        x = torch.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=1)
        torch.testing.assert_close(features(rgb)[name], x)
        x = x.relu()
    x = torch.conv2d(torch.max_pool2d(x, 2), weights["conv2_1.weight"], weights["conv2_1.bias"], padding=1)
    torch.testing.assert_close(features(rgb)["conv2_1"], x)


def test_vgg19_is_torchvision_s_file(tmp_path: Path) -> None:
    weights = tensors("vgg19")
    torch.save(as_torchvision(weights, "vgg19"), tmp_path / "vgg19.pth")
    features = load_features("vgg19", tmp_path / "vgg19.pth", "conv5_4")
    for name in layers("vgg19"):
        assert torch.equal(features.get_submodule(name).weight, weights[f"{name}.weight"])  # type: ignore[arg-type]
    mean_colour = torch.tensor([0.485, 0.456, 0.406])[:, None, None].expand(1, 3, 16, 16)
    first = features(mean_colour)["conv1_1"]
    torch.testing.assert_close(first[0, :, 4, 4], weights["conv1_1.bias"])


def test_the_loss_weighs_its_layers_and_reaches_sr(tmp_path: Path) -> None:
    safetensors.torch.save_file(tensors("vgg16"), tmp_path / "vgg16.safetensors")
    features = load_features("vgg16", tmp_path / "vgg16.safetensors", "conv2_2")
    sr, hr = torch.rand(2, 3, 16, 16, requires_grad=True), torch.rand(2, 3, 16, 16)
    one = PerceptualLoss(features, {"conv1_2": 1.0})(sr, hr)
    other = PerceptualLoss(features, {"conv2_2": 1.0})(sr, hr)
    both = PerceptualLoss(features, {"conv1_2": 2.0, "conv2_2": 0.5})(sr, hr)
    torch.testing.assert_close(both, 2.0 * one + 0.5 * other)
    both.backward()
    assert sr.grad is not None
    assert sr.grad.abs().sum() > 0
    assert PerceptualLoss(features, {"conv1_2": 1.0})(hr, hr) == 0


def test_bad_weights_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(PerceptualWeightsError, match="fetch vgg16"):
        load_features("vgg16", tmp_path / "nothing.safetensors", "conv1_1")
    (tmp_path / "damaged.safetensors").write_bytes(b"no tensors")
    with pytest.raises(PerceptualWeightsError, match="cannot be read"):
        load_features("vgg16", tmp_path / "damaged.safetensors", "conv1_1")
    with pytest.raises(ValueError, match="vgg16 has no layer 'conv9_9'"):
        load_features("vgg16", tmp_path / "damaged.safetensors", "conv9_9")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(PerceptualWeightsError, match="cannot be read"):
        load_features("vgg16", tmp_path / "list.pth", "conv1_1")


@pytest.mark.parametrize(
    ("file", "asked", "wrong"),
    [
        ("vgg16", "vgg19", "conv3_4, conv4_4, conv5_4 should be there"),
        ("vgg19", "vgg16", "conv3_4, conv4_4, conv5_4"),
    ],
)
def test_the_other_network_s_weights_are_refused(tmp_path: Path, file: str, asked: str, wrong: str) -> None:
    safetensors.torch.save_file(tensors(file), tmp_path / "caffe.safetensors")
    with pytest.raises(PerceptualWeightsError, match=f"is no {asked}: {wrong}"):
        load_features(asked, tmp_path / "caffe.safetensors", "conv1_1")
    torch.save(as_torchvision(tensors(file), file), tmp_path / "torchvision.pth")
    with pytest.raises(PerceptualWeightsError, match=f"is no {asked}: "):
        load_features(asked, tmp_path / "torchvision.pth", "conv1_1")


def test_a_layer_of_another_shape_is_refused(tmp_path: Path) -> None:
    odd = tensors("vgg16") | {"conv2_1.weight": torch.zeros(4, 5, 3, 3)}
    safetensors.torch.save_file(odd, tmp_path / "odd.safetensors")
    with pytest.raises(PerceptualWeightsError, match="conv2_1 has not the shape"):
        load_features("vgg16", tmp_path / "odd.safetensors", "conv1_1")
