"""How a run's network begins: fresh, or with the weights of a published version."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from sr_models.catalog import build
from sr_models.checkpoint import CheckpointError, load
from sr_models.manifest import CheckpointFolder, ManifestError
from training.recipe import Recipe


class BeginningError(ValueError):
    """The run's first weights cannot be had: publish the version that the recipe starts from."""


def beginning(recipe: Recipe, published: CheckpointFolder) -> nn.Module:
    """The recipe's network at step 0.

    From another scale of the same network, everything but what makes the picture larger is taken over.
    Raises BeginningError where the version to start from is missing, damaged, or a different network.
    """
    torch.manual_seed(recipe.seed)
    network = build(recipe.architecture, recipe.hyperparameters)
    if recipe.start_from is not None:
        taken = _taken_over(network, _published(recipe.start_from, published))
        network.load_state_dict(taken, strict=False)
    return network


def _published(label: str, folder: CheckpointFolder) -> nn.Module:
    try:
        for checkpoint in folder.checkpoints():
            if checkpoint.manifest.label == label:
                return load(checkpoint)
    except (CheckpointError, ManifestError) as error:
        raise BeginningError(f"the run starts from {label}: {error}") from error
    raise BeginningError(f"the run starts from {label}, which is not published in {folder.path}")


def _taken_over(network: nn.Module, earlier: nn.Module) -> dict[str, Tensor]:
    if type(network) is not type(earlier):
        raise BeginningError(f"a {type(network).__name__} cannot start from a {type(earlier).__name__}")
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    taken = {
        name: tensor for name, tensor in earlier.state_dict().items() if shapes.get(name) == tensor.shape
    }
    if not _any_weight(taken):
        raise BeginningError("the version to start from has no layer of the same shape")
    return taken


def _any_weight(names: Iterable[str]) -> bool:
    return any(name.endswith("weight") for name in names)
