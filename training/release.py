"""Publish the weights of a finished run as the next version of its checkpoint."""

import copy
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import nn

from sr_models import aliases
from sr_models.aliases import Alias, AliasesError
from sr_models.batch_norm import fold_batch_norms
from sr_models.bicubic import Bicubic
from sr_models.catalog import build
from sr_models.checkpoint import write
from sr_models.manifest import (
    MANIFEST_FILE,
    NAME,
    Checkpoint,
    CheckpointFolder,
    DegradationName,
    Manifest,
    ManifestError,
)
from sr_models.upscaler import Upscaler
from training.dataset import read_pairs
from training.evaluate import present_benchmarks, score, score_all
from training.halo import halo_px
from training.recipe import GanRecipe, Recipe, recipe_from
from training.run_state import RunState

FLOAT16_COST_DB = 0.01
"""Weights are stored as float16 where no set's luma PSNR moves by so much."""

UNFINISHED_FOLDER = ".unfinished"
"""Beside the names: where a version is until it is whole."""


GAN_COST_DB = 3.0
"""Luma PSNR that a discriminator may cost against bicubic: one that costs more has made another picture."""


class ReleaseError(ValueError):
    """Nothing was released: finish the run first, with `python -m training run`."""


def release_run(
    run: Path, benchmarks: Path, published: Path, licence: str, terms: str, *, even_if_poor: bool = False
) -> Checkpoint:
    """Score the moving average of a finished run's weights and publish it.

    `licence`: the weights', as an SPDX identifier. `terms`: what the photographs are, and what allows their use.

    `even_if_poor`: although bicubic scores higher, see `refuse_poor`.

    Raises ReleaseError if the folder holds no finished run, or one whose weights are poor or no numbers; RunStateError if
    its state is damaged; DatasetError if a benchmark set is missing.
    """
    state, recipe, network = _finished(run)
    training = {
        "command": f"python -m training run {recipe.name} --data {state.data.get('folder', 'PHOTOGRAPHS')}",
        "commit": state.commit,
        "data": {**state.data, "terms": terms},
        "recipe": state.recipe,
        "minutes": round(state.seconds / 60, 1),
        "weights": "the moving average at the last step; no step was chosen by a benchmark",
    }
    manifest = replace(recipe.manifest(network), licence=licence)
    degradations = list(dict.fromkeys(("bicubic", recipe.degradation)))
    _refuse_name(manifest)
    form = _as_stored(replace(manifest, training=training), network, benchmarks, degradations)
    if not even_if_poor:
        refuse_poor(form.manifest, recipe, benchmarks)
    return _publish(form, published)


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
    manifest: Manifest,
    network: nn.Module,
    training: Mapping[str, Any],
    benchmarks: Path,
    published: Path,
    degradations: Sequence[DegradationName] = ("bicubic",),
) -> Checkpoint:
    """Score the network and publish it as the version after the highest, in one move; no version is ever replaced.

    It is in production where no version of its name was; otherwise that one stays.
    `degradations`: the ways of making LR that it is scored by.
    Raises ReleaseError where it cannot be written, DatasetError if no benchmark set is there.
    """
    _refuse_name(manifest)
    return _publish(
        _as_stored(replace(manifest, training=training), network, benchmarks, degradations), published
    )


def _finished(run: Path) -> tuple[RunState, Recipe, nn.Module]:
    """A finished run, its recipe, and the network with the average of its weights."""
    state = RunState.load(run)
    if state is None:
        raise ReleaseError(f"{run} holds no run")
    try:
        recipe = TypeAdapter(type(recipe_from(state.recipe))).validate_python(state.recipe)
        network = build(recipe.architecture, recipe.hyperparameters)
        network.load_state_dict(state.average)
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(line.strip() for line in str(error).splitlines()[:3])
        raise ReleaseError(
            f"{run} holds no run that this software can release, train it again: {reason}"
        ) from error
    if state.step < recipe.all_steps:
        raise ReleaseError(
            f"the run in {run} is at step {state.step:,} of {recipe.all_steps:,}: run it to its end"
        )
    if not all(weight.isfinite().all() for weight in state.average.values()):
        raise ReleaseError(
            f"the run in {run} diverged, its weights are no numbers: train it again at a lower learning rate"
        )
    return state, recipe, network


def _refuse_name(manifest: Manifest) -> None:
    """Raises ReleaseError where the name is no plain folder's."""
    if not NAME.fullmatch(manifest.name):
        raise ReleaseError(
            f"{manifest.name!r} names no checkpoint: a family has small letters, digits and hyphens, "
            "a scale is 2, 3 or 4"
        )


def refuse_poor(manifest: Manifest, recipe: Recipe, benchmarks: Path) -> None:
    """Raises ReleaseError where bicubic does better, as the mean of the sets' luma PSNR on LR as the recipe makes it."""
    way = recipe.degradation
    ours_db = fmean(score.psnr_db for score in manifest.scores if score.degradation == way)
    bicubic = _psnr_dbs(bicubic_manifest(recipe.scale), Bicubic(recipe.scale), benchmarks, [way])
    least_db = fmean(bicubic) - (GAN_COST_DB if isinstance(recipe, GanRecipe) else 0.0)
    if ours_db < least_db:
        raise ReleaseError(
            f"{manifest.name} reaches {ours_db:.2f} dB on {way} LR where bicubic reaches {fmean(bicubic):.2f}, and at least "
            f"{least_db:.2f} are expected: train it again, or release it all the same with --even-if-poor"
        )


def _publish(form: "_StoredForm", published: Path) -> Checkpoint:
    """The next version, in one move."""
    try:
        published.mkdir(parents=True, exist_ok=True)
        with aliases.locked(published):
            return _written(form, published)
    except (AliasesError, ManifestError) as error:
        raise ReleaseError(f"nothing was released: {error}") from error
    except OSError as error:
        raise ReleaseError(
            f"nothing was released: {error.strerror}; make {published} writable, with room for the weights, and release again"
        ) from error


@dataclass(frozen=True)
class _StoredForm:
    """A network as users will get it."""

    network: nn.Module
    dtype: torch.dtype | None
    """What its weights are stored as; None as they are."""
    manifest: Manifest
    """With the halo and the scores of these very weights."""


def _as_stored(
    manifest: Manifest, network: nn.Module, benchmarks: Path, degradations: Sequence[DegradationName]
) -> _StoredForm:
    """With weights of half the size, unless a score moves by that."""
    rounded = _rounded(network)
    if manifest.parameters and all(p.isfinite().all() for p in rounded.parameters()):
        measured = _measured(manifest, rounded, benchmarks, degradations)
        exact_dbs = _psnr_dbs(measured, network, benchmarks, degradations)
        if all(_close(s.psnr_db, exact_db) for s, exact_db in zip(measured.scores, exact_dbs, strict=True)):
            return _StoredForm(rounded, torch.float16, measured)
    return _StoredForm(network, None, _measured(manifest, network, benchmarks, degradations))


@torch.no_grad()
def _rounded(network: nn.Module) -> nn.Module:
    """The network with trained weights that float16 holds exactly; `sr_models.checkpoint.write` stores no others as such."""
    rounded = copy.deepcopy(network)
    for parameter in rounded.parameters():
        parameter.copy_(parameter.half())
    return rounded


def _close(a_db: float, b_db: float) -> bool:
    return abs(a_db - b_db) < FLOAT16_COST_DB


def _measured(
    manifest: Manifest, network: nn.Module, benchmarks: Path, degradations: Sequence[DegradationName]
) -> Manifest:
    """The manifest with halo and scores."""
    network = fold_batch_norms(network)
    manifest = replace(manifest, halo_px=halo_px(Upscaler(network, manifest), benchmarks))
    upscaler = Upscaler(network, manifest)
    scores = [score for way in degradations for score in score_all(upscaler, benchmarks, way)]
    return replace(manifest, scores=tuple(scores))


def _psnr_dbs(
    manifest: Manifest, network: nn.Module, benchmarks: Path, degradations: Sequence[DegradationName]
) -> list[float]:
    """The luma PSNR of each of `_measured`'s scores, without what takes more time."""
    upscaler = Upscaler(fold_batch_norms(network), manifest)
    return [
        score(upscaler, read_pairs(benchmarks / benchmark, manifest.scale, way), benchmark, way).psnr_db
        for way in degradations
        for benchmark in present_benchmarks(benchmarks)
    ]


def _written(form: _StoredForm, published: Path) -> Checkpoint:
    """Publish it; to be called under the lock of `sr_models.aliases`, so that no other release takes the number."""
    folder, name = CheckpointFolder(published), form.manifest.name
    version = max(folder.versions().get(name, []), default=0) + 1
    place, unfinished = published / name / str(version), published / UNFINISHED_FOLDER
    shutil.rmtree(unfinished, ignore_errors=True)  # of a release that was killed
    for obstacle in (unfinished, place if place.parent.is_dir() else place.parent):
        if os.path.lexists(obstacle):
            raise ReleaseError(
                f"nothing was released: {obstacle} is in the way and no version; delete it and release again"
            )
    unfinished.mkdir()
    try:
        sha256, size_bytes = write(unfinished, form.network, form.dtype)
        manifest = replace(form.manifest, version=version, weights_sha256=sha256, weights_bytes=size_bytes)
        text = manifest.to_json()
        Manifest.from_json(text)  # nobody could use what this refuses
        with (unfinished / MANIFEST_FILE).open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # Before the version can be seen: without an entry the highest is in production.
        _pin(published, name, folder.production_version(name) or version)
        place.parent.mkdir(exist_ok=True)
        unfinished.rename(place)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return Checkpoint(manifest, place)


def _pin(published: Path, name: str, version: int) -> None:
    """Let the table of versions in production name this one."""
    table = aliases.read(published)
    alias = table.get(name)
    if alias is None or alias.production != version:
        aliases.write(published, {**table, name: Alias(version, alias.previous if alias else ())})
