"""`enlarger models`: which versions are published, and which are in production."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from enlarger.promotion import PromotionError, damage, promote, rollback
from sr_models.aliases import AliasesError
from sr_models.manifest import (
    Checkpoint,
    CheckpointFolder,
    Manifest,
    ManifestError,
    ModelNotFoundError,
    Score,
    default_checkpoint_folder,
)

COLUMNS = ("MODEL", "SCALE", "VERSION", "SET5 PSNR", "PARAMETERS", "LICENCE")


def _folder(context: click.Context, _: click.Parameter, chosen: Path | None) -> Path:
    """What was given here, or to `enlarger models`, or came with the software."""
    of_group: Path | None = context.parent.params.get("checkpoints") if context.parent else None
    return chosen or of_group or default_checkpoint_folder()


_checkpoints = click.option(
    "--checkpoints",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    callback=_folder,
    help="The folder of published checkpoints.",
)


@click.group(invoke_without_command=True, short_help="List, check and promote the published models.")
@click.option(
    "--checkpoints",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    envvar="ENLARGER_CHECKPOINTS",
    callback=_folder,
    help="The folder of published checkpoints.  [default: those that came with this software]",
)
@click.pass_context
def models(context: click.Context, checkpoints: Path) -> None:
    """List, check and promote the published models; without a command, list the version in production of each, by scale.

    PSNR is on luma of Set5, in dB: more is closer to the original.
    """
    if context.invoked_subcommand is None:
        _list(checkpoints)


@models.command("list", short_help="List the versions in production.")
@_checkpoints
def list_command(checkpoints: Path) -> None:
    """The version in production of each."""
    _list(checkpoints)


@models.command("show", short_help="Show all that is known of a version.")
@click.argument("name", metavar="NAME[@VERSION]")
@click.option("--json", "as_data", is_flag=True, help="The manifest as it is stored.")
@_checkpoints
def show_command(name: str, as_data: bool, checkpoints: Path) -> None:
    """All that is known of a version; without @VERSION of the one in production."""
    folder = CheckpointFolder(checkpoints)
    try:
        checkpoint = folder.named(name)
        in_production = folder.production_version(checkpoint.manifest.name) == checkpoint.manifest.version
    except (ManifestError, ModelNotFoundError) as error:
        raise click.ClickException(str(error)) from error
    if as_data:
        click.echo(checkpoint.manifest.to_json(), nl=False)
    else:
        click.echo("\n".join(_shown(checkpoint, in_production)))


@models.command("verify", short_help="Check weights against manifest and network.")
@click.argument("names", metavar="[NAME[@VERSION]]...", nargs=-1)
@_checkpoints
def verify_command(names: Sequence[str], checkpoints: Path) -> None:
    """Check the weights of every version, or of those that are named, against manifest and network."""
    folder = CheckpointFolder(checkpoints)
    damaged = []
    for label in _labels(folder, names):
        if reason := _damage(folder, label):
            damaged.append(label)
        click.echo(f"{label}  {f'damaged: {reason}' if reason else 'whole'}")
    if damaged:
        raise click.ClickException(f"damaged: {', '.join(damaged)}; restore their files from where they came")


@models.command("promote", short_help="Put a version in production.")
@click.argument("version", metavar="NAME@VERSION")
@click.option("--force", is_flag=True, help="Although its scores fall below those of the one in production.")
@_checkpoints
def promote_command(version: str, force: bool, checkpoints: Path) -> None:
    """Put a version in production: running workers take it for the next job."""
    try:
        replaced = promote(checkpoints, version, force)
    except (AliasesError, PromotionError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{version} is in production" + (f" instead of {replaced}" if replaced else ""))


@models.command("rollback", short_help="Return to the version before.")
@click.argument("name")
@_checkpoints
def rollback_command(name: str, checkpoints: Path) -> None:
    """Put the version in production again that was so before."""
    try:
        left, returned = rollback(checkpoints, name)
    except (AliasesError, PromotionError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{returned} is in production instead of {left}")


def _list(checkpoints: Path) -> None:
    try:
        published = CheckpointFolder(checkpoints).production()
    except ManifestError as error:
        raise click.ClickException(str(error)) from error
    rows = [COLUMNS]
    for manifest in (checkpoint.manifest for checkpoint in published):
        psnr_db = manifest.psnr_db("Set5")
        rows.append(
            (
                manifest.family,
                f"x{manifest.scale}",
                str(manifest.version),
                "-" if psnr_db is None else f"{psnr_db:.2f} dB",
                f"{manifest.parameters:,}",
                manifest.licence,
            )
        )
    for line in _aligned(rows):
        click.echo(line)


def _labels(folder: CheckpointFolder, names: Sequence[str]) -> list[str]:
    """`<name>@<version>` of every version, or of each that a name means."""
    published = [f"{name}@{version}" for name, numbers in folder.versions().items() for version in numbers]
    for name in names:
        if not any(name in (label, label.partition("@")[0]) for label in published):
            raise click.ClickException(f"{name} is not published; see `enlarger models`")
    return [label for label in published if not names or {label, label.partition("@")[0]} & set(names)]


def _damage(folder: CheckpointFolder, label: str) -> str | None:
    try:
        return damage(folder.named(label))
    except ManifestError as error:
        return str(error)


def _shown(checkpoint: Checkpoint, in_production: bool) -> Iterator[str]:
    """The manifest for a person, line by line."""
    manifest = checkpoint.manifest
    arguments = ", ".join(f"{name}={value}" for name, value in manifest.hyperparameters.items())
    yield f"{manifest.label}, {'in production' if in_production else 'not in production'}"
    yield ""
    yield from _aligned(
        [
            ("network", f"{manifest.architecture}({arguments}), sees {manifest.colour}"),
            ("parameters", f"{manifest.parameters:,}"),
            ("weights", f"{manifest.weights_bytes:,} bytes, SHA-256 {manifest.weights_sha256}"),
            ("halo", f"{manifest.halo_px} px of a receptive radius of {manifest.receptive_radius_px} px"),
            ("licence", manifest.licence),
            ("folder", str(checkpoint.folder)),
        ]
    )
    if manifest.scores:
        yield ""
        yield from _scores(manifest)
    if manifest.training:
        yield ""
        yield from _nested({"training": manifest.training})


def _scores(manifest: Manifest) -> Iterator[str]:
    """A table of those measures that were taken, and the protocols below."""
    names = [f.name for f in fields(Score) if f.name not in ("benchmark", "protocol", "degradation")]
    taken = [n for n in names if any(getattr(score, n) is not None for score in manifest.scores)]
    rows = [("set", "LR by", *taken)]
    for score in manifest.scores:
        values = [getattr(score, name) for name in taken]
        rows.append(
            (
                score.benchmark,
                score.degradation,
                *("-" if value is None else f"{value:.4f}" for value in values),
            )
        )
    yield from _aligned(rows)
    yield from dict.fromkeys(f"protocol: {score.protocol}" for score in manifest.scores)


def _nested(entries: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    for name, value in entries.items():
        if isinstance(value, Mapping) and value:
            yield f"{indent}{name}:"
            yield from _nested(value, f"{indent}  ")
        else:
            yield f"{indent}{name}: {value}"


def _aligned(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
