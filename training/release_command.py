"""`python -m training release` and `release-bicubic`."""

from pathlib import Path

import click

from sr_models.manifest import Checkpoint, CheckpointFolder, ManifestError, default_checkpoint_folder
from training.dataset import DatasetError
from training.publication import ReleaseError
from training.release import release_bicubic, release_run
from training.run_state import RunStateError

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_benchmarks = click.option(
    "--benchmarks",
    type=_FOLDER,
    required=True,
    help="Folder with Set5, Set14 or B100 in it; those that are there are used.",
)
_published = click.option(
    "--checkpoints",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_checkpoint_folder,
    help="Folder of published checkpoints; by default the software's own.",
)


@click.command("release")
@click.argument("run", type=_FOLDER)
@_benchmarks
@click.option("--licence", required=True, help="The weights' licence, as an SPDX identifier: Apache-2.0.")
@click.option("--terms", required=True, help="What the photographs are, and what allows their use.")
@click.option(
    "--even-if-poor", is_flag=True, help="Although bicubic scores higher on such LR as it was trained on."
)
@_published
def release_command(
    run: Path, benchmarks: Path, licence: str, terms: str, even_if_poor: bool, checkpoints: Path
) -> None:
    """Publish the finished run in the folder RUN as the next version of its checkpoint.

    The first version of a name is in production at once; a later one waits for `enlarger models promote`.
    """
    try:
        released = release_run(run, benchmarks, checkpoints, licence, terms, even_if_poor=even_if_poor)
    except (ReleaseError, DatasetError, RunStateError) as error:
        raise click.ClickException(str(error)) from error
    _tell(released, checkpoints)


@click.command("release-bicubic")
@_benchmarks
@_published
def release_bicubic_command(benchmarks: Path, checkpoints: Path) -> None:
    """Publish bicubic interpolation, the baseline, at x2, x3 and x4."""
    for scale in (2, 3, 4):
        try:
            released = release_bicubic(scale, benchmarks, checkpoints)
        except (ReleaseError, DatasetError) as error:
            raise click.ClickException(str(error)) from error
        _tell(released, checkpoints)


def _tell(released: Checkpoint, checkpoints: Path) -> None:
    name, label = released.manifest.name, released.manifest.label
    click.echo(f"Released {label} in {released.folder}")
    scores = (f"{score.benchmark} {score.psnr_db:.2f} dB" for score in released.manifest.scores)
    click.echo(f"PSNR: {', '.join(scores)}")
    try:
        production = CheckpointFolder(checkpoints).production_version(name)
    except ManifestError as error:
        raise click.ClickException(str(error)) from error
    if production != released.manifest.version:
        elsewhere = "" if checkpoints == default_checkpoint_folder() else f" --checkpoints {checkpoints}"
        click.echo(
            f"{name}@{production} stays in production; to replace it: enlarger models promote {label}{elsewhere}"
        )
