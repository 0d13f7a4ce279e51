import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from sr_models.bicubic import Bicubic
from sr_models.checkpoint import CheckpointError, load, load_unfolded, write
from sr_models.edsr import EDSR
from sr_models.manifest import Checkpoint, CheckpointFolder, default_checkpoint_folder
from sr_models.srresnet import SRResNet
from tests.tiny_checkpoints import publish
from tests.unit.sr_models.fixed_weights import with_random_weights

TINY = {"scale": 2, "blocks": 2, "features": 8}


def test_what_was_written_is_loaded(tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = load(publish(tmp_path))
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())
    assert sorted(network.state_dict()) == [
        "features.bias",
        "features.weight",
        "mapping.bias",
        "mapping.weight",
        "subpixel.bias",
        "subpixel.weight",
    ]


def written(
    folder: Path, architecture: str, network: nn.Module, dtype: torch.dtype | None = None
) -> Checkpoint:
    """A checkpoint of a TINY network with these weights."""
    sha256, size_bytes = write(folder, network, dtype)
    of_another = publish(folder / "another").manifest
    manifest = replace(
        of_another,
        architecture=architecture,
        hyperparameters=TINY,
        colour="rgb",
        weights_sha256=sha256,
        weights_bytes=size_bytes,
    )
    return Checkpoint(manifest, folder)


def test_weights_stored_in_half_are_loaded_as_float32(tmp_path: Path) -> None:
    network = with_random_weights(EDSR(**TINY))
    checkpoint = written(tmp_path, "edsr", network, torch.float16)
    content = checkpoint.weights_path.read_bytes()
    assert checkpoint.manifest.weights_sha256 == hashlib.sha256(content).hexdigest()
    assert checkpoint.manifest.weights_bytes == len(content)
    stored = safetensors.torch.load(content)
    assert stored["head.weight"].dtype == torch.float16
    assert stored["bicubic.kernel"].dtype == torch.float32
    loaded = load(checkpoint)
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {torch.float32}
    torch.testing.assert_close(
        dict(loaded.named_parameters()), dict(network.named_parameters()), rtol=1e-3, atol=1e-7
    )
    assert torch.equal(loaded.get_buffer("bicubic.kernel"), Bicubic(2).kernel)


def test_weights_are_stored_as_they_are_unless_told_otherwise(tmp_path: Path) -> None:
    network = with_random_weights(SRResNet(**TINY))
    stored = safetensors.torch.load(written(tmp_path, "srresnet", network).weights_path.read_bytes())
    torch.testing.assert_close(stored, dict(network.state_dict()), rtol=0, atol=0)
    assert stored["body_end.norm.num_batches_tracked"].dtype == torch.int64


def test_half_weights_with_one_bit_changed_are_refused(tmp_path: Path) -> None:
    checkpoint = written(tmp_path, "edsr", EDSR(**TINY), torch.float16)
    content = bytearray(checkpoint.weights_path.read_bytes())
    content[-1] ^= 1
    checkpoint.weights_path.write_bytes(content)
    refused(checkpoint, "SHA-256")


@torch.inference_mode()
def test_batch_norms_are_folded_unless_training_goes_on(tmp_path: Path) -> None:
    network = with_random_weights(SRResNet(**TINY))
    checkpoint = written(tmp_path, "srresnet", network, torch.float16)
    folded, as_trained = load(checkpoint), load_unfolded(checkpoint)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert not any(p.requires_grad for p in folded.parameters())
    assert as_trained.state_dict().keys() == network.state_dict().keys()
    rgb = torch.rand(1, 3, 9, 9)
    torch.testing.assert_close(folded(rgb), as_trained(rgb), rtol=0, atol=1e-5)
    torch.testing.assert_close(folded(rgb), network(rgb), rtol=0, atol=1e-2)


def test_every_published_version_loads() -> None:
    for checkpoint in CheckpointFolder(default_checkpoint_folder()).checkpoints():
        network = load(checkpoint)
        assert not network.training
        assert network.receptive_radius_px == checkpoint.manifest.receptive_radius_px


def refused(checkpoint: Checkpoint, because: str) -> None:
    with pytest.raises(CheckpointError, match=because):
        load(checkpoint)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    checkpoint = publish(tmp_path)
    os.truncate(checkpoint.weights_path, checkpoint.manifest.weights_bytes - 1)
    refused(checkpoint, "has .* bytes, its manifest says")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    checkpoint = publish(tmp_path)
    checkpoint.weights_path.write_bytes(b"")
    refused(checkpoint, "has 0 bytes")


def test_a_file_with_one_bit_changed_is_refused(tmp_path: Path) -> None:
    checkpoint = publish(tmp_path)
    content = bytearray(checkpoint.weights_path.read_bytes())
    content[-1] ^= 1
    checkpoint.weights_path.write_bytes(content)
    refused(checkpoint, "SHA-256")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    checkpoint = publish(tmp_path)
    checkpoint.weights_path.unlink()
    refused(checkpoint, "cannot be read")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    two, three = publish(tmp_path, scale=2), publish(tmp_path, scale=3)
    refused(Checkpoint(two.manifest, three.folder), "bytes")
    from_three = three.manifest
    mixed = type(from_three)(**{**vars(from_three), "hyperparameters": {"scale": 2}})
    refused(Checkpoint(mixed, three.folder), "do not fit")


def test_a_network_that_is_not_in_the_catalogue_is_refused(tmp_path: Path) -> None:
    checkpoint = publish(tmp_path)
    manifest = type(checkpoint.manifest)(**{**vars(checkpoint.manifest), "architecture": "os.system"})
    refused(Checkpoint(manifest, checkpoint.folder), "unknown")
