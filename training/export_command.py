"""`python -m training export`."""

import logging
from pathlib import Path

import click

from sr_models.checkpoint import CheckpointError
from sr_models.manifest import (
    CheckpointFolder,
    ManifestError,
    ModelNotFoundError,
    default_checkpoint_folder,
)
from training.export import OPSET, TOLERANCE, ExportError, export


@click.command("export")
@click.argument("checkpoint", metavar="NAME[@VERSION]")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="The ONNX file to write; an earlier one is replaced.",
)
@click.option(
    "--checkpoints",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=default_checkpoint_folder,
    help="Folder of published checkpoints; by default the software's own.",
)
def export_command(checkpoint: str, out: Path, checkpoints: Path) -> None:
    """Write a version, such as espcn-x4 or espcn-x4@1, as an ONNX model, checked against torch."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, which we do not use
    try:
        found = CheckpointFolder(checkpoints).named(checkpoint)
        difference = export(found, out)
    except (CheckpointError, ExportError, ManifestError, ModelNotFoundError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(
        f"{found.manifest.label} in {out}, opset {OPSET}: differs from torch by at most {difference:.1e} "
        f"(allowed {TOLERANCE:.0e})"
    )
