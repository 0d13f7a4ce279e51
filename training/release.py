"""Publish the weights of a finished run as the next version of its checkpoint."""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from sr_models.bicubic import Bicubic
from sr_models.catalog import build
from sr_models.checkpoint import write
from sr_models.manifest import MANIFEST_FILE, Checkpoint, CheckpointFolder, Manifest
from sr_models.upscaler import Upscaler
from training.evaluate import score_all
from training.recipe import recipe_from
from training.run_state import RunState


class ReleaseError(ValueError):
    """Nothing was released: finish the run first, with `python -m training run`."""


def release_run(run: Path, benchmarks: Path, published: Path, licence: str, terms: str) -> Checkpoint:
    """Score the moving average of a finished run's weights and publish it.

    `licence`: the weights', as an SPDX identifier. `terms`: what the photographs are, and what allows their use.

    Raises ReleaseError if the folder holds no finished run, DatasetError if a benchmark set is missing.
    """
    state = RunState.load(run)
    if state is None:
        raise ReleaseError(f"{run} holds no run")
    recipe = recipe_from(state.recipe)
    if state.step < recipe.all_steps:
        raise ReleaseError(
            f"the run in {run} is at step {state.step:,} of {recipe.all_steps:,}: run it to its end"
        )
    network = build(recipe.architecture, recipe.hyperparameters)
    network.load_state_dict(state.average)
    training = {
        "command": f"python -m training run {recipe.name} --data {state.data['folder']}",
        "commit": state.commit,
        "data": {**state.data, "terms": terms},
        "recipe": state.recipe,
        "minutes": round(state.seconds / 60, 1),
        "weights": "the moving average at the last step; no step was chosen by a benchmark",
    }
    manifest = replace(recipe.manifest(network), licence=licence)
    return publish(manifest, network, training, benchmarks, published)


def release_bicubic(scale: int, benchmarks: Path, published: Path) -> Checkpoint:
    """Publish bicubic interpolation, the baseline, with its scores. Raises DatasetError if a set is missing."""
    return publish(bicubic_manifest(scale), Bicubic(scale), {}, benchmarks, published)


def bicubic_manifest(scale: int) -> Manifest:
    """The manifest of a version to come: what the release fills in is still empty."""
    return Manifest(
        family="bicubic",
        scale=scale,
        version=0,
        architecture="bicubic",
        hyperparameters={"scale": scale},
        colour="rgb",
        weights_sha256="",
        weights_bytes=0,
        receptive_radius_px=Bicubic.receptive_radius_px,
        halo_px=Bicubic.receptive_radius_px,
        parameters=0,
        licence="Apache-2.0",
    )


def publish(
    manifest: Manifest, network: nn.Module, training: Mapping[str, Any], benchmarks: Path, published: Path
) -> Checkpoint:
    """Score the network and publish it as the version after the highest, in one move; no version is ever replaced."""
    versions = [
        c.manifest.version
        for c in CheckpointFolder(published).checkpoints()
        if c.manifest.name == manifest.name
    ]
    version = max(versions, default=0) + 1
    scores = score_all(Upscaler(network, manifest), benchmarks)
    of_name = published / manifest.name
    of_name.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=of_name))
    try:
        sha256, size_bytes = write(unfinished, network)
        manifest = replace(
            manifest,
            version=version,
            weights_sha256=sha256,
            weights_bytes=size_bytes,
            training=training,
            scores=scores,
        )
        (unfinished / MANIFEST_FILE).write_text(manifest.to_json(), "utf-8")
        unfinished.chmod(0o755)
        folder = of_name / str(version)
        unfinished.rename(folder)  # fails where another release took the number meanwhile
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return Checkpoint(manifest, folder)
