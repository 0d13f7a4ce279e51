"""Which version of a checkpoint is in production: promoted if it is whole and no worse, rolled back at once."""

from collections.abc import Mapping
from pathlib import Path

from sr_models import aliases
from sr_models.aliases import Alias
from sr_models.manifest import Checkpoint, CheckpointFolder, Manifest, ManifestError, ModelNotFoundError

PSNR_TOLERANCE_DB = 0.01
"""What storing weights as float16 may cost."""
ST_LPIPS_TOLERANCE = 0.001
"""A shift of the picture by one pixel makes .004 (Set5 x4)."""


class PromotionError(ValueError):
    """The version in production stays: promote another one, or see `enlarger models verify`."""


def damage(checkpoint: Checkpoint) -> str | None:
    """What is wrong with the version; None if its weights are the manifest's and enlarge a picture of two tiles."""
    # Not above: torch takes seconds to import, and whoever lists the models does without.
    import numpy as np

    from sr_models.checkpoint import CheckpointError
    from sr_models.upscaler import MIN_CORE_PX, Upscaler

    height_px = 2 * (checkpoint.manifest.halo_px + MIN_CORE_PX)
    try:
        Upscaler.from_checkpoint(checkpoint).upscale(np.zeros((height_px, 8, 3), np.uint8), tile_px=1)
    except CheckpointError as error:
        return str(error)
    except (RuntimeError, ValueError) as error:  # of torch, or of numpy where the result has another size
        return f"{checkpoint.manifest.label} does not enlarge a picture: {error}"
    return None


def promote(folder: Path, label: str, force: bool = False) -> str | None:
    """Put the version `<name>@<version>` in production; the label of the one that it replaces, if there was one.

    `force`: although its scores fall below. Raises PromotionError where the version is not published, is damaged,
    scores lower or is in production already; AliasesError where the folder cannot be written.
    """
    name, _, number = label.partition("@")
    if not number:
        there = ", ".join(
            f"{name}@{version}" for version in CheckpointFolder(folder).versions().get(name, [])
        )
        raise PromotionError(f"{label} names no version; there are: {there or 'none of that name'}")
    with aliases.locked(folder):
        new = _usable(folder, label)
        table = aliases.read(folder)
        alias, version = table.get(name), new.manifest.version
        current = CheckpointFolder(folder).production_version(name)
        if alias and current == version:
            raise PromotionError(f"{label} is in production already")
        if current in (None, version):
            # In production as the highest version so far: with an entry, a later one does not take over.
            table[name] = Alias(version, alias.previous if alias else ())
        else:
            assert current is not None
            if not force:
                _refuse_worse(new.manifest, folder, f"{name}@{current}")
            table[name] = (alias or Alias(current)).promoted(version)
        aliases.write(folder, table)
    return None if current in (None, version) else f"{name}@{current}"


def rollback(folder: Path, name: str) -> tuple[str, str]:
    """Put the version in production that was so before; the labels of the one that leaves and the one that returns.

    Its scores do not matter: a rollback is for when something is wrong. Raises PromotionError where nothing was in
    production before, or where that is missing or damaged; AliasesError where the folder cannot be written.
    """
    with aliases.locked(folder):
        table = aliases.read(folder)
        alias = table.get(name)
        if alias is None or not alias.previous:
            if name not in CheckpointFolder(folder).versions():
                raise PromotionError(f"no model {name!r} is published: `enlarger models list` says what is")
            raise PromotionError(
                f"no version of {name} was in production before: choose one with `enlarger models promote`"
            )
        table[name] = alias.rolled_back()
        returning = f"{name}@{table[name].production}"
        _usable(folder, returning)
        aliases.write(folder, table)
    return f"{name}@{alias.production}", returning


def lower_scores(new: Manifest, old: Manifest) -> list[str]:
    """Where `new` falls below `old` or has no score to compare, a phrase for each; empty if nowhere.

    Compared is luma PSNR, on every set that both were scored on by the same protocol. Where both were trained against a
    discriminator, which costs PSNR by design, ST-LPIPS takes its place if both have it.
    """
    pairs = [
        (ours, theirs)
        for theirs in old.scores
        for ours in new.scores
        if (ours.benchmark, ours.protocol) == (theirs.benchmark, theirs.protocol)
    ]
    scored = {(ours.benchmark, ours.degradation) for ours in new.scores}
    missing = [
        f"it has no score on {theirs.benchmark} with LR by {theirs.degradation}"
        for theirs in old.scores
        if (theirs.benchmark, theirs.degradation) not in scored
    ]
    if _adversarial(new) and _adversarial(old):
        distances = [
            (ours.benchmark, ours.st_lpips, theirs.st_lpips)
            for ours, theirs in pairs
            if ours.st_lpips is not None and theirs.st_lpips is not None
        ]
        if distances:
            return missing + [
                f"ST-LPIPS on {benchmark} is {ours:.4f} instead of {theirs:.4f}"
                for benchmark, ours, theirs in distances
                if not ours <= theirs + ST_LPIPS_TOLERANCE  # so that NaN counts as worse
            ]
    return missing + [
        f"PSNR on {ours.benchmark} is {ours.psnr_db:.2f} dB instead of {theirs.psnr_db:.2f}"
        for ours, theirs in pairs
        if not ours.psnr_db >= theirs.psnr_db - PSNR_TOLERANCE_DB
    ]


def _adversarial(manifest: Manifest) -> bool:
    recipe = manifest.training.get("recipe")
    return isinstance(recipe, Mapping) and bool(recipe.get("adversarial_weight"))


def _usable(folder: Path, label: str) -> Checkpoint:
    """That version, with weights that were verified."""
    try:
        checkpoint = CheckpointFolder(folder).named(label)
    except (ModelNotFoundError, ManifestError) as error:
        raise PromotionError(str(error)) from error
    if reason := damage(checkpoint):
        raise PromotionError(f"{reason}; it was not put in production")
    return checkpoint


def _refuse_worse(new: Manifest, folder: Path, label: str) -> None:
    try:
        old = CheckpointFolder(folder).named(label).manifest
    except ManifestError:
        return  # what cannot be read cannot be served either: any version is better
    if lower := lower_scores(new, old):
        raise PromotionError(
            f"{new.label} does not score as high as {old.label}, which stays in production: {'; '.join(lower)}. "
            "Promote it all the same with --force"
        )
