"""Publish the weights of a finished run as the next version of its checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from pydantic import TypeAdapter
from torch import nn

from sr_models.bicubic import Bicubic
from sr_models.catalog import build
from sr_models.manifest import Checkpoint, DegradationName, Manifest
from training.publication import ReleaseError, published_version, refuse_name
from training.recipe import GanRecipe, Recipe, recipe_from
from training.recipes.catalog import recipe_name
from training.run_state import RunState
from training.stored_form import as_stored, psnr_dbs

GAN_COST_DB = 3.0
"""Luma PSNR that a discriminator may cost against bicubic: one that costs more has made another picture."""


def release_run(
    run: Path, benchmarks: Path, published: Path, licence: str, terms: str, *, even_if_poor: bool = False
) -> Checkpoint:
    """Score the moving average of a finished run's weights and publish it.

    `licence`: the weights', as an SPDX identifier. `terms`: what the photographs are, and what allows their use.

    `even_if_poor`: although bicubic scores higher, see `refuse_poor`.

    Raises ReleaseError if the folder holds no finished run, or one whose weights are poor or no numbers; RunStateError if
    its state is damaged; DatasetError if a benchmark set is missing.
    """
    licence, terms = _terms(licence, terms)
    state, recipe, network = _finished(run)
    training = {
        "command": f"python -m training run {recipe_name(recipe)} --data {state.data.get('folder', 'PHOTOGRAPHS')}",
        "commit": state.commit,
        "data": {**state.data, "terms": terms},
        "recipe": state.recipe,
        "minutes": round(state.seconds / 60, 1),
        "weights": "the moving average at the last step; no step was chosen by a benchmark",
    }
    manifest = replace(recipe.manifest(network), licence=licence)
    degradations = list(dict.fromkeys(("bicubic", recipe.degradation)))
    refuse_name(manifest)
    form = as_stored(replace(manifest, training=training), network, benchmarks, degradations)
    if not even_if_poor:
        refuse_poor(form.manifest, recipe, benchmarks)
    return published_version(form, published)


def _terms(licence: str, terms: str) -> tuple[str, str]:
    """The licence as SPDX writes it, and the terms. Raises ReleaseError for none."""
    try:
        licence = canonicalize_license_expression(licence)
    except InvalidLicenseExpression as error:
        raise ReleaseError(
            f"{licence!r} is no SPDX identifier: give one as Apache-2.0 or CC0-1.0, or LicenseRef-… for terms of your own"
        ) from error
    if not terms.strip():
        raise ReleaseError("say in --terms what the photographs are, and what allows their use")
    return licence, terms.strip()


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
    refuse_name(manifest)
    return published_version(
        as_stored(replace(manifest, training=training), network, benchmarks, degradations), published
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


def refuse_poor(manifest: Manifest, recipe: Recipe, benchmarks: Path) -> None:
    """Raises ReleaseError where bicubic does better, as the mean of the sets' luma PSNR on LR as the recipe makes it."""
    way = recipe.degradation
    ours_db = fmean(score.psnr_db for score in manifest.scores if score.degradation == way)
    bicubic = psnr_dbs(bicubic_manifest(recipe.scale), Bicubic(recipe.scale), benchmarks, [way])
    least_db = fmean(bicubic) - (GAN_COST_DB if isinstance(recipe, GanRecipe) else 0.0)
    if ours_db < least_db:
        raise ReleaseError(
            f"{manifest.name} reaches {ours_db:.2f} dB on {way} LR where bicubic reaches {fmean(bicubic):.2f}, and at least "
            f"{least_db:.2f} are expected: train it again, or release it all the same with --even-if-poor"
        )
