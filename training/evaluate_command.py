"""`python -m training evaluate`."""

from pathlib import Path
from typing import get_args

import click
import torch

from sr_models.checkpoint import CheckpointError
from sr_models.manifest import CheckpointFolder, DegradationName, ManifestError, default_checkpoint_folder
from training.dataset import DatasetError
from training.evaluate import evaluate
from training.report import report
from training.reproduction import compare
from training.score_table import as_json, as_markdown
from training.stlpips import PerceptualWeightsError, lpips

_FILE = click.Path(dir_okay=False, path_type=Path)
_MISTAKES = (CheckpointError, DatasetError, LookupError, ManifestError, OSError, PerceptualWeightsError)


@click.command("evaluate")
@click.option(
    "--models",
    default="all",
    help="`all`, or families and checkpoint names, each with or without @VERSION, with commas between.",
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder with Set5, Set14 or B100 in it; those that are there are used.",
)
@click.option(
    "--degradation",
    type=click.Choice(get_args(DegradationName)),
    help="How LR is made.  [default: bicubic, and whatever else a model's manifest has scores by]",
)
@click.option("--all-versions", is_flag=True, help="Not only the versions in production.")
@click.option("--json", "as_data", is_flag=True, help="For programs.")
@click.option("--html", type=_FILE, help="Also write a page with crops by every model side by side.")
@click.option("--check", is_flag=True, help="Fail unless every published number is reproduced.")
@click.option(
    "--lpips",
    "lpips_file",
    type=_FILE,
    help='Also measure LPIPS, by weights from `torch.save(lpips.LPIPS(net="alex").state_dict(), FILE)`.',
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="What runs the networks.")
@click.option(
    "--checkpoints",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_checkpoint_folder,
    help="Folder of published checkpoints; by default the software's own.",
)
def evaluate_command(
    models: str,
    data: Path,
    degradation: DegradationName | None,
    all_versions: bool,
    as_data: bool,
    html: Path | None,
    check: bool,
    lpips_file: Path | None,
    device: str,
    checkpoints: Path,
) -> None:
    """Score published checkpoints beside bicubic, and compare with what their manifests state."""
    if device == "cuda" and not torch.cuda.is_available():
        raise click.ClickException("torch finds no CUDA device here: leave --device out")
    if html:
        _refuse_unwritable(html)
    published = CheckpointFolder(checkpoints)
    try:
        rows = evaluate(
            published,
            [] if models == "all" else models.split(","),
            data,
            degradation=degradation,
            all_versions=all_versions,
            device=device,
            lpips=lpips(lpips_file) if lpips_file else None,
        )
        click.echo(as_json(rows) if as_data else as_markdown(rows))
        every = published.checkpoints()
        reproduction = compare(rows, every)
        click.echo(str(reproduction), err=True)
        if html:
            html.write_text(report(rows, every, data), "utf-8")
    except _MISTAKES as error:
        raise click.ClickException(str(error)) from error
    if check and not reproduction.complete:
        raise click.exceptions.Exit(1)


def _refuse_unwritable(path: Path) -> None:
    """Raises ClickException where a page cannot be written: said before the minutes of scoring. A page that is there stays."""
    was_there = path.exists()
    try:
        path.open("ab").close()
        if not was_there:
            path.unlink()
    except OSError as error:
        raise click.ClickException(
            f"{path} cannot be written: {error.strerror}; name another file by --html"
        ) from error
