"""A version's folder and its place in the table of production, written all or not at all."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from sr_models import aliases
from sr_models.aliases import Alias, AliasesError
from sr_models.checkpoint import write
from sr_models.manifest import MANIFEST_FILE, NAME, Checkpoint, CheckpointFolder, Manifest, ManifestError
from training.stored_form import StoredForm

UNFINISHED_FOLDER = ".unfinished"
"""Beside the names: where a version is until it is whole."""


class ReleaseError(ValueError):
    """Nothing was released: finish the run first, with `python -m training run`."""


def refuse_name(manifest: Manifest) -> None:
    """Raises ReleaseError where the name is no plain folder's."""
    if not NAME.fullmatch(manifest.name):
        raise ReleaseError(
            f"{manifest.name!r} names no checkpoint: a family has small letters, digits and hyphens, "
            "a scale is 2, 3 or 4"
        )


def published_version(form: StoredForm, published: Path) -> Checkpoint:
    """The version after the highest, in one move; no version is ever replaced.

    It is in production where no version of its name was; otherwise that one stays. Raises ReleaseError where it cannot be written.
    """
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


def _written(form: StoredForm, published: Path) -> Checkpoint:
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
