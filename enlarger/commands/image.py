"""`enlarger image`."""

import os
import re
import sys
import threading
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import click
from tqdm import tqdm

from enlarger.picture_files import Enlargement, PlanError, plan_enlargements
from sr_models.manifest import CheckpointFolder, ManifestError, ModelNotFoundError, default_checkpoint_folder
from worker.contract.finish import BACKGROUND_PATTERN, Finish, Metadata
from worker.contract.jobs import PictureFormat
from worker.contract.reading import Colorspace, Frames, Reading
from worker.errors import JobError
from worker.pipeline import Pipeline, Upscaled, UpscaleRequest

IN_FLIGHT = 4
"""Pictures at once: one or two on the device, while one is decoded and one encoded."""

EXISTING_PATH = click.Path(exists=True, path_type=Path)


def _checked_colour(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if not re.fullmatch(BACKGROUND_PATTERN, value):
        raise click.BadParameter(f"{value!r} is no colour: write #rrggbb")
    return value


@click.command(short_help="Enlarge pictures here, without a server.")
@click.argument("inputs", metavar="IN...", nargs=-1, required=True, type=EXISTING_PATH)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="A folder, or a picture for one input.",
)
@click.option("-s", "--scale", default=4, show_default=True, type=click.IntRange(2, 4))
@click.option("-m", "--model", default="auto", show_default=True, help="A family, or one version: espcn@1.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(PictureFormat, case_sensitive=False),
    help="[default: the input's]",
)
@click.option("--quality", type=click.IntRange(1, 100), help="For JPEG, WebP and AVIF.")
@click.option(
    "--sharpen", type=click.FloatRange(0, 1), default=0.0, help="Add fine detail once more, 0 to 1."
)
@click.option("--strip", is_flag=True, help="Leave EXIF, XMP and IPTC out: place, time, camera.")
@click.option(
    "--colorspace",
    type=click.Choice(Colorspace, case_sensitive=False),
    default=Colorspace.KEEP,
    show_default=True,
    help="srgb converts the colours by the picture's profile.",
)
@click.option(
    "--frames",
    type=click.Choice(Frames, case_sensitive=False),
    default=Frames.REFUSE,
    show_default=True,
    help="Of animations and files with pages.",
)
@click.option(
    "--background",
    default="#ffffff",
    show_default=True,
    metavar="#RRGGBB",
    callback=_checked_colour,
    help="Under transparency in a JPEG.",
)
@click.option("--progressive", is_flag=True, help="Write progressive JPEGs.")
@click.option("--lossless", is_flag=True, help="Write lossless WebPs.")
@click.option("--ensemble", is_flag=True, help="Mean over 8 flips and rotations: better, 8 times slower.")
@click.option("-r", "--recursive", is_flag=True, help="Take the pictures in folders' folders too.")
@click.option("--overwrite", is_flag=True, help="Make results anew that are there already.")
@click.option(
    "--checkpoints", type=EXISTING_PATH, envvar="ENLARGER_CHECKPOINTS", help="Folder of published models."
)
def image(
    inputs: tuple[Path, ...],
    output: Path,
    scale: int,
    model: str,
    output_format: PictureFormat | None,
    quality: int | None,
    sharpen: float,
    strip: bool,
    colorspace: Colorspace,
    frames: Frames,
    background: str,
    progressive: bool,
    lossless: bool,
    ensemble: bool,
    recursive: bool,
    overwrite: bool,
    checkpoints: Path | None,
) -> None:
    """Enlarge pictures here, without a server: files, and folders of them.

    A result that is there already is skipped, so that running the same command again goes on where it
    stopped. A picture that cannot be enlarged is reported and the others go on; the exit code is then 1.
    """
    try:
        plan = plan_enlargements(inputs, output, output_format=output_format, recursive=recursive)
        checkpoints = checkpoints or default_checkpoint_folder()
        CheckpointFolder(checkpoints).find(model, scale)
    except (PlanError, ModelNotFoundError) as error:
        raise click.UsageError(str(error)) from error
    except ManifestError as error:
        raise click.ClickException(str(error)) from error
    ahead = [one for one in plan if overwrite or not one.target.exists()]
    finish = Finish(
        sharpen=sharpen,
        metadata=Metadata.STRIP if strip else Metadata.KEEP,
        background=background,
        progressive=progressive,
        lossless=lossless,
    )
    reading = Reading(colorspace, frames)
    wanted = UpscaleRequest(b"", model, scale, None, quality, ensemble, reading=reading, finish=finish)
    run = _Run(wanted, total=len(ahead))
    run.outcomes["skipped"] = len(plan) - len(ahead)
    try:
        with Pipeline(checkpoints) as pipeline:
            run.through(pipeline, ahead)
    except KeyboardInterrupt:
        run.outcomes["left"] = len(ahead) - run.outcomes["enlarged"] - run.outcomes["failed"]
        raise click.exceptions.Exit(130) from None
    finally:
        counts = ", ".join(f"{count} {outcome}" for outcome, count in run.outcomes.items() if count)
        hint = " (--overwrite makes what is there anew)" if run.outcomes["skipped"] else ""
        click.echo(counts + hint, err=True)
    if run.outcomes["failed"]:
        raise click.exceptions.Exit(1)


class _Run:
    """The pictures on their way, and what became of those before."""

    def __init__(self, wanted: UpscaleRequest, total: int) -> None:
        """`wanted`: what is to be made of each picture, whatever its content and format."""
        self.outcomes = Counter(enlarged=0, skipped=0, failed=0)
        self._wanted = wanted
        self._total = total
        self._canceled = threading.Event()

    def through(self, pipeline: Pipeline, plan: list[Enlargement]) -> None:
        """Enlarge what is planned, IN_FLIGHT at a time."""
        with _progress_bar(self._total) as bar:
            running: dict[Future[Upscaled], _OnItsWay] = {}
            try:
                for one in plan:
                    if len(running) == IN_FLIGHT:
                        self._finish_some(running)
                    way = _OnItsWay(one, bar)
                    try:
                        content = one.source.read_bytes()
                    except OSError as error:
                        self._fail(way, error)
                        continue
                    request = replace(self._wanted, content=content, output_format=one.format)
                    running[pipeline.submit(request, way.report, self._canceled.is_set)] = way
                while running:
                    self._finish_some(running)
            except BaseException:
                # The pipeline finishes what it has before it closes: let that be soon.
                self._canceled.set()
                raise

    def _finish_some(self, running: "dict[Future[Upscaled], _OnItsWay]") -> None:
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            way = running.pop(future)
            try:
                write_atomically(way.enlargement.target, future.result().content)
            except (JobError, OSError) as error:
                self._fail(way, error)
            else:
                self.outcomes["enlarged"] += 1
                way.report(1.0)

    def _fail(self, way: "_OnItsWay", error: Exception) -> None:
        self.outcomes["failed"] += 1
        tqdm.write(f"{way.enlargement.source}: {error}", file=sys.stderr)
        way.report(1.0)


class _OnItsWay:
    """One picture's part of the progress bar."""

    _turn = threading.Lock()
    """A bar's count is no atomic number, and every picture reports from a thread of the pipeline."""

    def __init__(self, enlargement: Enlargement, bar: "tqdm[NoReturn]") -> None:
        self.enlargement = enlargement
        self._bar = bar
        self._share = 0.0

    def report(self, share: float) -> None:
        """Move the bar to where this picture is, 0 to 1. From any thread."""
        with self._turn:
            self._bar.update(share - self._share)
            self._share = share


def _progress_bar(total: int) -> "tqdm[NoReturn]":
    # `disable=None` shows no bar where standard error is no terminal.
    bar_format = "{percentage:3.0f}%|{bar}| {n:.1f}/{total} pictures [{elapsed}<{remaining}]"
    return tqdm(total=total, bar_format=bar_format, disable=None)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all, and its folder where that is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
