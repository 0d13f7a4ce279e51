"""Score checkpoints on the benchmark sets, always beside bicubic."""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sr_models.checkpoint import load
from sr_models.cost import multiply_adds
from sr_models.manifest import Checkpoint, CheckpointFolder, DegradationName, Score
from sr_models.upscaler import Upscaler
from training.dataset import DatasetError, Pair, picture_paths, read_pairs
from training.score_table import BENCHMARKS, Row
from training.scores import PROTOCOLS, Reference
from training.stlpips import PerceptualDistance, st_lpips

BASELINE = "bicubic"

_DIGITS = {"psnr_db": 4, "ssim": 5, "rgb_psnr_db": 4, "lr_psnr_db": 4, "st_lpips": 5, "lpips": 5}

NO_DISTANCES: Mapping[str, PerceptualDistance] = {}


def score(
    upscaler: Upscaler,
    pairs: Iterable[Pair],
    benchmark: str,
    degradation: DegradationName = "bicubic",
    distances: Mapping[str, PerceptualDistance] = NO_DISTANCES,
) -> Score:
    """The mean over a set's pictures of every measure, from the 8-bit RGB that a user gets.

    `degradation`: what made the pairs' LR. `distances`: perceptual ones by the name of their field in Score; they cost as
    much time as a network of middle size. Raises DatasetError for a picture that is too small.
    """
    [result] = _score_together([upscaler], pairs, benchmark, degradation, distances)
    return result


def score_all(
    upscaler: Upscaler, folder: Path, degradation: DegradationName = "bicubic"
) -> tuple[Score, ...]:
    """All scores on those benchmark sets that are folders below `folder`. Raises DatasetError if none is."""
    distances = perceptual_distances("cpu")
    return tuple(
        score(
            upscaler,
            read_pairs(folder / benchmark, upscaler.scale, degradation),
            benchmark,
            degradation,
            distances,
        )
        for benchmark in present_benchmarks(folder)
    )


def evaluate(
    published: CheckpointFolder,
    models: Sequence[str],
    folder: Path,
    *,
    degradation: DegradationName | None = None,
    all_versions: bool = False,
    device: str = "cpu",
    lpips: PerceptualDistance | None = None,
) -> list[Row]:
    """A row for each model that was asked for, by scale; bicubic's row first at each scale.

    `models`: families or checkpoint names (their versions in production; every one with `all_versions`), or either with
    `@version`; empty for all. `degradation`: how LR is made; None for bicubic, and for every other way that a model's
    manifest has scores by. `lpips`: LPIPS, where its weights are at hand. Shows a bar on a terminal.
    Raises LookupError for a model that is not published, DatasetError where no benchmark set is there.
    """
    chosen = choose(published, models, all_versions)
    benchmarks = present_benchmarks(folder)
    upscalers = [Upscaler.from_checkpoint(checkpoint, device) for checkpoint in chosen]
    groups = [
        (way, scale, group)
        for way in PROTOCOLS
        for scale in sorted({u.scale for u in upscalers})
        if (group := _group(upscalers, scale, way, degradation))
    ]
    distances = perceptual_distances(device) | ({"lpips": lpips.to(device)} if lpips else {})
    scores: dict[str, list[Score]] = {upscaler.manifest.label: [] for upscaler in upscalers}
    pictures = sum(len(picture_paths(folder / benchmark)) for benchmark in benchmarks)
    pictures *= sum(len(group) for _, _, group in groups)
    with tqdm(total=pictures, unit="picture", dynamic_ncols=True, disable=None) as bar:
        for way, scale, group in groups:
            for benchmark in benchmarks:
                bar.set_postfix_str(f"{benchmark} x{scale}")
                pairs = _counted(read_pairs(folder / benchmark, scale, way), bar.update, len(group))
                results = _score_together(group, pairs, benchmark, way, distances)
                for upscaler, result in zip(group, results, strict=True):
                    scores[upscaler.manifest.label].append(result)
    return [
        _row(checkpoint, upscaler, scores[upscaler.manifest.label])
        for checkpoint, upscaler in zip(chosen, upscalers, strict=True)
    ]


def present_benchmarks(folder: Path) -> list[str]:
    """Those benchmark sets that are folders below `folder`. Raises DatasetError if none is."""
    present = [benchmark for benchmark in BENCHMARKS if (folder / benchmark).is_dir()]
    if not present:
        raise DatasetError(f"{folder} holds none of the benchmark sets {', '.join(BENCHMARKS)}")
    return present


def perceptual_distances(device: str) -> dict[str, PerceptualDistance]:
    """ST-LPIPS by its field in Score; empty where its weights are not installed."""
    distance = st_lpips()
    return {"st_lpips": distance.to(device)} if distance else {}


def choose(published: CheckpointFolder, models: Sequence[str], all_versions: bool) -> list[Checkpoint]:
    """The checkpoints that `evaluate` scores, in its order."""
    every, production = published.checkpoints(), published.production()
    if not every and not models:
        raise LookupError("no checkpoint is published: release one with `python -m training release`")
    usual = every if all_versions else production
    wanted = [] if models else list(usual)
    for model in models:
        known = every if "@" in model else usual
        answering = [c for c in known if model in _names(c)]
        if not answering:
            raise LookupError(f"no model {model!r} is published; there are {', '.join(map(_label, every))}")
        wanted += answering
    scales = {c.manifest.scale for c in wanted}
    wanted += [c for c in production if c.manifest.family == BASELINE and c.manifest.scale in scales]
    once = {_label(c): c for c in wanted}.values()
    return sorted(once, key=_place)


def seconds_per_megapixel(upscaler: Upscaler) -> float:
    """Time on this device for a million pixels of output, as a median of three over an LR picture of 256x256."""
    lr = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    times_s = []
    for _ in range(3):
        began_s = time.perf_counter()
        upscaler.upscale(lr)
        times_s.append(time.perf_counter() - began_s)
    return statistics.median(times_s) / ((256 * upscaler.scale) ** 2 / 1e6)


def _score_together(
    upscalers: Sequence[Upscaler],
    pairs: Iterable[Pair],
    benchmark: str,
    degradation: DegradationName,
    distances: Mapping[str, PerceptualDistance],
) -> list[Score]:
    """A score for each upscaler; picture by picture, so that what HR needs is computed once and kept for one picture only."""
    measured: list[list[dict[str, float]]] = [[] for _ in upscalers]
    for pair in pairs:
        reference = Reference(pair, degradation, distances)
        for upscaler, of_upscaler in zip(upscalers, measured, strict=True):
            of_upscaler.append(reference.compared(upscaler.upscale(pair.lr)))
    return [_mean(pictures, benchmark, degradation) for pictures in measured]


def _mean(pictures: Sequence[dict[str, float]], benchmark: str, degradation: DegradationName) -> Score:
    means = {
        name: round(float(np.mean([picture[name] for picture in pictures])), _DIGITS[name])
        for name in pictures[0]
    }
    return Score(benchmark=benchmark, protocol=PROTOCOLS[degradation], degradation=degradation, **means)


def _row(checkpoint: Checkpoint, upscaler: Upscaler, scores: Sequence[Score]) -> Row:
    manifest = checkpoint.manifest
    lr_height_px, lr_width_px = -(-720 // manifest.scale), -(-1280 // manifest.scale)
    return Row(
        checkpoint=manifest.label,
        scale=manifest.scale,
        scores=tuple(scores),
        parameters=manifest.parameters,
        multiply_adds=multiply_adds(load(checkpoint), lr_height_px, lr_width_px),
        seconds_per_megapixel=round(seconds_per_megapixel(upscaler), 4),
    )


def _group(
    upscalers: Sequence[Upscaler], scale: int, way: DegradationName, only: DegradationName | None
) -> list[Upscaler]:
    """Who is scored at this scale on LR made this way; bicubic where anyone else is."""
    at_scale = [u for u in upscalers if u.scale == scale]
    if only or way == "bicubic":
        return at_scale if way == (only or "bicubic") else []
    published = [u for u in at_scale if any(s.degradation == way for s in u.manifest.scores)]
    return [u for u in at_scale if published and (u in published or u.manifest.family == BASELINE)]


def _names(checkpoint: Checkpoint) -> tuple[str, ...]:
    manifest = checkpoint.manifest
    return manifest.family, manifest.name, f"{manifest.family}@{manifest.version}", manifest.label


def _place(checkpoint: Checkpoint) -> tuple[int, bool, str, int]:
    manifest = checkpoint.manifest
    return manifest.scale, manifest.family != BASELINE, manifest.family, manifest.version


def _label(checkpoint: Checkpoint) -> str:
    return checkpoint.manifest.label


def _counted(pairs: Iterable[Pair], count: Callable[[int], object], step: int) -> Iterator[Pair]:
    for pair in pairs:
        yield pair
        count(step)
