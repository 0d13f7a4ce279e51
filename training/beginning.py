"""How a run's network begins: fresh, or with the weights of a published version."""

import logging
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from sr_models.batch_norm import calibrate_batch_norms
from sr_models.catalog import build
from sr_models.checkpoint import CheckpointError, load_unfolded
from sr_models.edsr import EDSR
from sr_models.manifest import CheckpointFolder, ManifestError, ModelNotFoundError
from sr_models.srresnet import SRResNet
from training.dead_features import revive_dead_features
from training.recipe import Recipe

log = logging.getLogger(__name__)


class BeginningError(ValueError):
    """The run's first weights cannot be had: publish the version that the recipe starts from."""


def beginning(
    recipe: Recipe, published: CheckpointFolder, examples: Callable[[], Iterable[Tensor]]
) -> nn.Module:
    """The recipe's network at step 0.

    From another scale of the same network, every layer of the same shape is taken over: all but what makes the picture
    larger, and features that died on the way start afresh. A SRResNet can also begin as the EDSR of its size and scale; `examples`, LR batches (N, 3, h, w), say which
    features live, and what flows through batch norms.
    Raises BeginningError where the version to start from is missing, damaged, or a different network.
    """
    torch.manual_seed(recipe.seed)
    network = build(recipe.architecture, recipe.hyperparameters)
    if recipe.start_from is None:
        return network
    earlier = _published(recipe.start_from, published)
    if isinstance(network, SRResNet) and isinstance(earlier, EDSR):
        earlier = SRResNet.from_edsr(earlier)
        calibrate_batch_norms(earlier, examples())
    network.load_state_dict(_taken_over(network, earlier, recipe.start_from), strict=False)
    if isinstance(network, EDSR):
        log.info("%d dead features start afresh", revive_dead_features(network, examples()))
    return network


def _published(label: str, folder: CheckpointFolder) -> nn.Module:
    try:
        return load_unfolded(folder.named(label))
    except ModelNotFoundError as error:
        raise BeginningError(
            f"the run starts from {label}, which is not published in {folder.path}: {error}; "
            "name a version as in espcn-x3@1, or its folder with --checkpoints"
        ) from error
    except (CheckpointError, ManifestError) as error:
        raise BeginningError(f"the run starts from {label}: {error}") from error


def _taken_over(network: nn.Module, earlier: nn.Module, label: str) -> dict[str, Tensor]:
    if type(network) is not type(earlier):
        raise BeginningError(
            f"a {type(network).__name__} cannot start from {label}, which is a {type(earlier).__name__}"
        )
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    taken = {
        name: tensor for name, tensor in earlier.state_dict().items() if shapes.get(name) == tensor.shape
    }
    if not any(name.endswith("weight") and tensor.ndim == 4 for name, tensor in taken.items()):
        raise BeginningError(f"{label} is of another size: none of its layers fits the recipe's network")
    return taken
