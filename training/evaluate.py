"""Score checkpoints on the benchmark sets, always beside bicubic."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sr_models.manifest import Checkpoint, CheckpointFolder, Score
from sr_models.upscaler import Upscaler
from training.dataset import DatasetError, Pair, read_pairs
from training.scores import PROTOCOL, luma, psnr_db, ssim, without_border

BENCHMARKS = ("Set5", "Set14", "B100")
BASELINE = "bicubic"


@dataclass(frozen=True)
class Row:
    """One checkpoint's scores, as the table shows them."""

    checkpoint: str
    """`<family>-x<scale>@<version>`."""
    scale: int
    """How many times larger the result is."""
    scores: tuple[Score, ...]
    """One for each benchmark set that was there, in the order of `BENCHMARKS`."""


def score(upscaler: Upscaler, pairs: Sequence[Pair], benchmark: str) -> Score:
    """The mean over a set's pictures of PSNR and SSIM on luma, from the 8-bit RGB that a user gets."""
    psnrs, ssims = [], []
    for pair in pairs:
        sr = without_border(luma(upscaler.upscale(pair.lr)), upscaler.scale)
        hr = without_border(luma(pair.hr), upscaler.scale)
        psnrs.append(psnr_db(sr, hr))
        ssims.append(ssim(sr, hr))
    return Score(benchmark, round(float(np.mean(psnrs)), 4), round(float(np.mean(ssims)), 5), PROTOCOL)


def score_all(upscaler: Upscaler, folder: Path) -> tuple[Score, ...]:
    """The scores on those benchmark sets that are folders below `folder`. Raises DatasetError if none is."""
    present = [benchmark for benchmark in BENCHMARKS if (folder / benchmark).is_dir()]
    if not present:
        raise DatasetError(f"{folder} holds none of the benchmark sets {', '.join(BENCHMARKS)}")
    return tuple(
        score(upscaler, read_pairs(folder / benchmark, upscaler.scale), benchmark) for benchmark in present
    )


def evaluate(published: CheckpointFolder, models: Sequence[str], folder: Path) -> list[Row]:
    """A row for each model that was asked for, by scale; bicubic's row first at each scale.

    `models`: families (their versions in production) or checkpoint names; empty for all.
    Raises LookupError for a model that is not published.
    """
    chosen = _chosen(published.production(), models)
    return [
        Row(c.manifest.label, c.manifest.scale, score_all(Upscaler.from_checkpoint(c), folder))
        for c in chosen
    ]


def _chosen(production: Iterable[Checkpoint], models: Sequence[str]) -> list[Checkpoint]:
    known = list(production)
    if not known and not models:
        raise LookupError("no checkpoint is published: release one with `python -m training release`")
    for model in models:
        if not any(model in (c.manifest.family, c.manifest.name) for c in known):
            raise LookupError(
                f"no model {model!r} is published; there are {', '.join(c.manifest.name for c in known)}"
            )
    wanted = [c for c in known if not models or c.manifest.family in models or c.manifest.name in models]
    scales = {c.manifest.scale for c in wanted}
    baselines = [c for c in known if c.manifest.family == BASELINE and c.manifest.scale in scales]
    learnt = [c for c in wanted if c.manifest.family != BASELINE]
    return sorted(baselines + learnt, key=lambda c: c.manifest.scale)


def as_markdown(rows: Iterable[Row]) -> str:
    """The table as the field writes it: PSNR in dB / SSIM."""
    lines = [
        "| checkpoint | scale | " + " | ".join(BENCHMARKS) + " |",
        "|---|---|" + "---|" * len(BENCHMARKS),
    ]
    for row in rows:
        measured = {s.benchmark: f"{s.psnr_db:.2f} / {s.ssim:.4f}" for s in row.scores}
        cells = (measured.get(benchmark, "not scored") for benchmark in BENCHMARKS)
        lines.append(f"| {row.checkpoint} | x{row.scale} | {' | '.join(cells)} |")
    return "\n".join(lines)


def as_json(rows: Iterable[Row]) -> str:
    """The same rows for programs."""
    return json.dumps([asdict(row) for row in rows], indent=2)
