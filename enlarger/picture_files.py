"""Which file becomes which: the plan of `enlarger image`, made and checked before any work."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from worker.contract.jobs import InputFormat, PictureFormat

FORMAT_OF_SUFFIX = {
    ".avif": PictureFormat.AVIF,
    ".jpeg": PictureFormat.JPEG,
    ".jpg": PictureFormat.JPEG,
    ".png": PictureFormat.PNG,
    ".tif": PictureFormat.TIFF,
    ".tiff": PictureFormat.TIFF,
    ".webp": PictureFormat.WEBP,
}


class PlanError(ValueError):
    """The inputs and the output do not go together."""


ONLY_READ = {
    ".bmp": InputFormat.BMP,
    ".gif": InputFormat.GIF,
    ".heic": InputFormat.HEIC,
    ".heif": InputFormat.HEIC,
    ".j2k": InputFormat.JP2,
    ".jp2": InputFormat.JP2,
    ".pbm": InputFormat.PPM,
    ".pgm": InputFormat.PPM,
    ".ppm": InputFormat.PPM,
}
"""The suffixes of pictures that become others."""
READ_SUFFIXES = {**{suffix: InputFormat(f.value) for suffix, f in FORMAT_OF_SUFFIX.items()}, **ONLY_READ}
OTHER_PICTURE_SUFFIXES = frozenset({*ONLY_READ, ".jxl", ".svg"})
"""Whoever names such an output means a file, not a folder."""


@dataclass(frozen=True)
class Enlargement:
    """One picture file and what is made of it."""

    source: Path
    """Exists."""
    target: Path
    """May exist; its folder may not."""
    format: PictureFormat
    """What to write."""


def plan_enlargements(
    inputs: Iterable[Path],
    output: Path,
    *,
    output_format: PictureFormat | None = None,
    recursive: bool = False,
) -> list[Enlargement]:
    """What is to be done to enlarge `inputs` into `output`.

    An input folder stands for the picture files in it and, if recursive, for those in its folders, whose
    structure is kept. `output` is a folder, or a picture file if the only input is a file. A result has its source's
    name and, unless a format is given, its source's format or what comes next to it (PNG where the suffix says none).
    Raises PlanError if two results, or a result and a source, would be the same file, or if nothing is found.
    """
    inputs = list(inputs)
    if output.suffix.lower() in FORMAT_OF_SUFFIX and not output.is_dir():
        if len(inputs) != 1 or inputs[0].is_dir():
            raise PlanError(f"{output} is the name of one picture: with several inputs, give a folder")
        chosen = FORMAT_OF_SUFFIX[output.suffix.lower()]
        if output_format not in (None, chosen):
            raise PlanError(f"{output} is not a {output_format} file's name")
        plan = [Enlargement(inputs[0], output, chosen)]
    elif not output.is_dir() and (output.exists() or output.suffix.lower() in OTHER_PICTURE_SUFFIXES):
        raise PlanError(f"{output} is neither a folder nor a JPEG, PNG, WebP, TIFF or AVIF file's name")
    else:
        plan = []
        for source, folder in _sources(inputs, output, recursive):
            read = READ_SUFFIXES.get(source.suffix.lower(), InputFormat.PNG)
            chosen = output_format or read.kept_as
            # A source's own .jpeg stays; a suffix that would lie about the content does not.
            keep = FORMAT_OF_SUFFIX.get(source.suffix.lower()) is chosen
            name = source.name if keep else source.stem + chosen.suffix
            plan.append(Enlargement(source, output / folder / name, chosen))
    plan = [_told_apart(one, plan) for one in plan]
    _check(plan, inputs)
    return plan


def _sources(inputs: list[Path], output: Path, recursive: bool) -> Iterator[tuple[Path, Path]]:
    """Each picture file, and its folder relative to the output."""
    for given in inputs:
        if not given.is_dir():
            yield given, Path()
            continue
        output_inside = given.resolve() in output.resolve().parents
        for path in sorted(given.rglob("*") if recursive else given.iterdir()):
            if path.suffix.lower() not in READ_SUFFIXES or not path.is_file():
                continue
            # Results of an earlier run are no sources.
            if not (output_inside and output.resolve() in path.resolve().parents):
                yield path, path.parent.relative_to(given)


def _told_apart(one: Enlargement, plan: list[Enlargement]) -> Enlargement:
    """Under its whole name where it becomes another format and would have that of another result: a.gif.png beside a.png."""
    alone = sum(one.target == other.target for other in plan) == 1
    if alone or one.target.suffix.lower() == one.source.suffix.lower():
        return one
    return replace(one, target=one.target.with_name(one.source.name + one.format.suffix))


def _check(plan: list[Enlargement], inputs: list[Path]) -> None:
    if not plan:
        raise PlanError(
            f"no pictures in {', '.join(map(str, inputs))}: JPEG, PNG, WebP, TIFF, AVIF, GIF, BMP, HEIC, JPEG 2000 and PPM are taken"
        )
    sources = {one.source.resolve() for one in plan}
    taken: dict[Path, Path] = {}
    for one in plan:
        target = one.target.resolve()
        if target in sources:
            raise PlanError(f"{one.target} is an input and would be overwritten: give another output folder")
        if target in taken:
            raise PlanError(f"{taken[target]} and {one.source} would both become {one.target}")
        taken[target] = one.source
