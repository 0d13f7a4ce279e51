import os
from pathlib import Path

import pytest
import torch

from sr_models.checkpoint import CheckpointError, load
from sr_models.manifest import Checkpoint
from tests.tiny_checkpoints import publish


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
