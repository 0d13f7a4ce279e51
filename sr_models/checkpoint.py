"""Weights on disk: written atomically, verified before a single number of them is used.

safetensors holds tensors and nothing else, so that loading a file runs no code of its author.
"""

import hashlib
import os
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import nn

from sr_models.catalog import build
from sr_models.manifest import WEIGHTS_FILE, Checkpoint


class CheckpointError(Exception):
    """The weights cannot be used: publish the version again, or restore the file from where it came."""


def write(folder: Path, network: nn.Module) -> tuple[str, int]:
    """Write the network's weights to the folder; return their SHA-256 in hex and their size in bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    content = safetensors.torch.save(tensors)
    unfinished = folder / f"{WEIGHTS_FILE}.unfinished"
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(folder / WEIGHTS_FILE)
    return hashlib.sha256(content).hexdigest(), len(content)


def load(checkpoint: Checkpoint) -> nn.Module:
    """The checkpoint's network with its weights, in evaluation mode and without gradients.

    Raises CheckpointError where the file is missing, truncated or altered, or does not fit the network.
    """
    manifest, path = checkpoint.manifest, checkpoint.weights_path
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{manifest.label}: {path} cannot be read: {error}") from error
    if len(content) != manifest.weights_bytes:
        raise CheckpointError(
            f"{manifest.label}: {path} has {len(content)} bytes, its manifest says {manifest.weights_bytes}"
        )
    if hashlib.sha256(content).hexdigest() != manifest.weights_sha256:
        raise CheckpointError(
            f"{manifest.label}: {path} is not the file that its manifest describes (SHA-256)"
        )
    try:
        network = build(manifest.architecture, manifest.hyperparameters)
        network.load_state_dict(safetensors.torch.load(content))
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{manifest.label}: the weights do not fit the network: {error}") from error
    return network.eval().requires_grad_(False)
