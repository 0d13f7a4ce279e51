"""The command line: `python -m training run`, `evaluate`, `release` and `release-bicubic`."""

import os
from collections.abc import Callable
from pathlib import Path

# See worker/__main__.py: before torch is imported, so that its threads do not spin.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import click
import torch

from sr_models.manifest import CheckpointFolder, default_checkpoint_folder
from training.beginning import BeginningError
from training.dataset import DatasetError
from training.evaluate import as_json, as_markdown, evaluate
from training.pixel_loop import train
from training.recipe import PixelRecipe
from training.recipes.edsr import edsr_baseline_x2
from training.recipes.espcn import espcn_x2, espcn_x3, espcn_x4
from training.release import ReleaseError, release_bicubic, release_run
from training.run_state import RunStateError

RECIPES: dict[str, Callable[[], PixelRecipe]] = {
    "edsr-baseline-x2": edsr_baseline_x2,
    "espcn-x2": espcn_x2,
    "espcn-x3": espcn_x3,
    "espcn-x4": espcn_x4,
}

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_BENCHMARKS_HELP = "Folder with Set5, Set14 or B100 in it; those that are there are used."
_published = click.option(
    "--checkpoints",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_checkpoint_folder,
    help="Folder of published checkpoints; by default the software's own.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Train networks, score them, and release versions of checkpoints."""


@main.command("run")
@click.argument("recipe", type=click.Choice(sorted(RECIPES)))
@click.option("--data", type=_FOLDER, required=True, help="Folder of photographs, searched through.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the run; runs/RECIPE by default.",
)
@click.option("--validate", type=_FOLDER, help="A benchmark set to show the curve on; it decides nothing.")
@click.option(
    "--threads", type=click.IntRange(min=1), help="CPU threads; by default as many as there are cores."
)
def run_command(
    recipe: str, data: Path, out: Path | None, validate: Path | None, threads: int | None
) -> None:
    """Train RECIPE; the same command goes on with a run that was stopped."""
    if threads:
        torch.set_num_threads(threads)
    out = out or Path("runs") / recipe
    try:
        state = train(RECIPES[recipe](), data, out, validate)
    except (BeginningError, DatasetError, RunStateError, FloatingPointError) as error:
        raise click.ClickException(str(error)) from error
    steps = RECIPES[recipe]().all_steps
    if state.step < steps:
        click.echo(f"Stopped at step {state.step:,} of {steps:,}; the same command goes on from there.")
    else:
        click.echo(
            f"Done. Publish it: python -m training release {out} --benchmarks DIR --licence … --terms …"
        )


@main.command("evaluate")
@click.option("--models", default="all", help="`all`, or families and checkpoint names with commas between.")
@click.option("--data", type=_FOLDER, required=True, help=_BENCHMARKS_HELP)
@click.option("--json", "as_data", is_flag=True, help="For programs.")
@_published
def evaluate_command(models: str, data: Path, as_data: bool, checkpoints: Path) -> None:
    """Score published checkpoints beside bicubic: luma PSNR in dB / SSIM."""
    wanted = [] if models == "all" else models.split(",")
    try:
        rows = evaluate(CheckpointFolder(checkpoints), wanted, data)
    except (DatasetError, LookupError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(as_json(rows) if as_data else as_markdown(rows))


@main.command("release")
@click.argument("run", type=_FOLDER)
@click.option("--benchmarks", type=_FOLDER, required=True, help=_BENCHMARKS_HELP)
@click.option("--licence", required=True, help="The weights' licence, as an SPDX identifier: Apache-2.0.")
@click.option("--terms", required=True, help="What the photographs are, and what allows their use.")
@_published
def release_command(run: Path, benchmarks: Path, licence: str, terms: str, checkpoints: Path) -> None:
    """Publish the finished run in the folder RUN as the next version of its checkpoint."""
    try:
        checkpoint = release_run(run, benchmarks, checkpoints, licence, terms)
    except (ReleaseError, DatasetError, RunStateError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Released {checkpoint.manifest.label} in {checkpoint.folder}")


@main.command("release-bicubic")
@click.option("--benchmarks", type=_FOLDER, required=True, help=_BENCHMARKS_HELP)
@_published
def release_bicubic_command(benchmarks: Path, checkpoints: Path) -> None:
    """Publish bicubic interpolation, the baseline, at x2, x3 and x4."""
    for scale in (2, 3, 4):
        try:
            checkpoint = release_bicubic(scale, benchmarks, checkpoints)
        except DatasetError as error:
            raise click.ClickException(str(error)) from error
        click.echo(f"Released {checkpoint.manifest.label} in {checkpoint.folder}")


if __name__ == "__main__":
    main(prog_name="python -m training")
