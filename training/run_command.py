"""`python -m training run`."""

import logging
from dataclasses import replace
from pathlib import Path

import click
import torch

from sr_models.manifest import default_checkpoint_folder
from training.beginning import BeginningError
from training.dataset import DatasetError
from training.dataset_folder import refuse_run_among_photographs
from training.gan_loop import train_gan
from training.perceptual import PerceptualWeightsError
from training.pixel_loop import train
from training.recipe import GanRecipe
from training.recipes.catalog import RECIPES
from training.run_folder import claimed, is_first_process
from training.run_state import RunStateError
from training.vgg16_weights import default_vgg16_path

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("run")
@click.argument("recipe", type=click.Choice(sorted(RECIPES)), metavar="RECIPE")
@click.option("--data", type=_FOLDER, required=True, help="Folder of photographs, searched through.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the run; runs/RECIPE by default.",
)
@click.option("--validate", type=_FOLDER, help="Pictures to show the curve on; they decide nothing.")
@click.option(
    "--start-from",
    metavar="NAME@VERSION",
    help="The published version to start from, instead of the recipe's; `none`: from scratch.",
)
@click.option(
    "--checkpoints",
    type=click.Path(file_okay=False, path_type=Path),
    default=default_checkpoint_folder,
    help="Folder of the published version that the recipe starts from; by default the software's own.",
)
@click.option(
    "--perceptual",
    type=click.Path(dir_okay=False, path_type=Path),
    default=default_vgg16_path,
    help="Weights of the perceptual loss's network; by default what `fetch vgg16` wrote.",
)
@click.option(
    "--threads", type=click.IntRange(min=1), help="CPU threads; by default as many as there are cores."
)
def run_command(
    recipe: str,
    data: Path,
    out: Path | None,
    validate: Path | None,
    start_from: str | None,
    checkpoints: Path,
    perceptual: Path,
    threads: int | None,
) -> None:
    """Train RECIPE, one of those in docs/training.md; the same command goes on with a run that was stopped."""
    logging.basicConfig(format="%(message)s")
    if threads:
        torch.set_num_threads(threads)
    out = out or Path("runs") / recipe
    chosen = RECIPES[recipe]()
    if start_from is not None:
        chosen = replace(chosen, start_from=None if start_from == "none" else start_from)
    try:
        refuse_run_among_photographs(out, data, validate, chosen.scale)
        with claimed(out):
            if isinstance(chosen, GanRecipe):
                state = train_gan(chosen, data, out, perceptual, validate, checkpoints)
            else:
                state = train(chosen, data, out, validate, checkpoints)
    except (
        BeginningError,
        DatasetError,
        FloatingPointError,
        PerceptualWeightsError,
        RunStateError,
    ) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:  # of the curve, the crops or TensorBoard: the disk may be full
        raise click.ClickException(f"{error}; the same command goes on from the last saved state") from error
    if not is_first_process():
        return
    if state.step < chosen.all_steps:
        click.echo(
            f"Stopped at step {state.step:,} of {chosen.all_steps:,}; the same command goes on from there."
        )
    else:
        click.echo(
            f"Done. Publish it: python -m training release {out} --benchmarks DIR --licence … --terms …"
        )
