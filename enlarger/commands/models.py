"""`enlarger models`."""

from pathlib import Path

import click

from sr_models.manifest import CheckpointFolder, ManifestError, default_checkpoint_folder

COLUMNS = ("MODEL", "SCALE", "VERSION", "SET5 PSNR", "PARAMETERS", "LICENCE")


@click.command(short_help="List the published models.")
@click.option(
    "--checkpoints",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    envvar="ENLARGER_CHECKPOINTS",
    help="The folder of published checkpoints.  [default: those that came with this software]",
)
def models(checkpoints: Path | None) -> None:
    """List the published models: the version in production of each, by scale.

    PSNR is on luma of Set5, in dB: more is closer to the original.
    """
    try:
        published = CheckpointFolder(checkpoints or default_checkpoint_folder()).production()
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
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
