"""Weights on disk: written atomically, verified before a single number of them is used.

safetensors holds tensors and nothing else, so that loading a file runs no code of its author.
"""

import hashlib
import os
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from sr_models.batch_norm import fold_batch_norms
from sr_models.catalog import build
from sr_models.manifest import WEIGHTS_FILE, Checkpoint


class CheckpointError(Exception):
    """The weights cannot be used: publish the version again, or restore the file from where it came."""


def write(folder: Path, network: nn.Module, dtype: torch.dtype | None = None) -> tuple[str, int]:
    """Write the network's weights to the folder; return their SHA-256 in hex and their size in bytes.

    `dtype`: what trained weights are stored as; by default as they are. Buffers (fixed kernels, the statistics of
    batch norms) always stay as they are: they are small, and `load` should find them exact.
    """
    trained = dict(network.named_parameters())
    tensors = {
        name: tensor.detach().to("cpu", dtype if name in trained else None).contiguous()
        for name, tensor in network.state_dict().items()
    }
    content = safetensors.torch.save(tensors)
    unfinished = folder / f"{WEIGHTS_FILE}.unfinished"
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(folder / WEIGHTS_FILE)
    return hashlib.sha256(content).hexdigest(), len(content)


def load(checkpoint: Checkpoint) -> nn.Module:
    """The checkpoint's network ready for use: in evaluation mode, without gradients, batch norms folded, float32.

    Raises CheckpointError where the file is missing, truncated or altered, or does not fit the network.
    """
    return fold_batch_norms(load_unfolded(checkpoint))


def load_unfolded(checkpoint: Checkpoint) -> nn.Module:
    """The same network as it was trained, with its batch norms: for a run that goes on from these weights.

    Raises CheckpointError as `load` does.
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
        network.load_state_dict(safetensors.torch.load(content))  # copies into float32, whatever is stored
    except (SafetensorError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{manifest.label}: the weights do not fit the network: {error}") from error
    return network.eval().requires_grad_(False)
