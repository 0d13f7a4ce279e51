"""Rows of scores as tables, for people and for programs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from sr_models.manifest import DegradationName, Score
from training.scores import LR_BY, PROTOCOLS

BENCHMARKS = ("Set5", "Set14", "B100")

NOT_SCORED = "not scored"


@dataclass(frozen=True)
class Row:
    """One checkpoint's scores and cost."""

    checkpoint: str
    """`<family>-x<scale>@<version>`."""
    scale: int
    """How many times larger the result is."""
    scores: tuple[Score, ...]
    """One for each degradation and each benchmark set that was there."""
    parameters: int
    """Trained numbers."""
    multiply_adds: int
    """Of the network, for a result of 1280x720."""
    seconds_per_megapixel: float
    """Time for a million pixels of output, measured on this device."""


@dataclass(frozen=True)
class Table:
    """Cells of text."""

    title: str
    heading: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def tables(rows: Sequence[Row]) -> list[Table]:
    """Two tables for each degradation that was scored: what the field's tables state, then everything else."""
    return [
        table
        for degradation in PROTOCOLS
        if (scored := [row for row in rows if any(s.degradation == degradation for s in row.scores)])
        for table in (_fidelity(scored, degradation), _closeness_and_cost(scored, degradation))
    ]


def _fidelity(rows: Sequence[Row], degradation: DegradationName) -> Table:
    return Table(
        f"Luma PSNR in dB / SSIM, LR by {LR_BY[degradation]}",
        ("checkpoint", "scale", *BENCHMARKS),
        tuple(_scored(row, degradation, {"psnr_db": 2, "ssim": 4}) for row in rows),
    )


def _closeness_and_cost(rows: Sequence[Row], degradation: DegradationName) -> Table:
    with_lpips = any(s.lpips is not None for row in rows for s in row.scores)
    digits = {"rgb_psnr_db": 2, "lr_psnr_db": 2, "st_lpips": 3} | ({"lpips": 3} if with_lpips else {})
    return Table(
        f"RGB PSNR in dB / LR-PSNR in dB / ST-LPIPS{' / LPIPS' if with_lpips else ''}, LR by {LR_BY[degradation]}; "
        "multiply-adds for a result of 1280x720; seconds per megapixel of output, measured on this device",
        ("checkpoint", "scale", *BENCHMARKS, "parameters", "multiply-adds", "s/MP"),
        tuple(
            (
                *_scored(row, degradation, digits),
                f"{row.parameters:,}",
                _giga(row.multiply_adds),
                f"{row.seconds_per_megapixel:.3g}",
            )
            for row in rows
        ),
    )


def _scored(row: Row, degradation: DegradationName, digits: Mapping[str, int]) -> tuple[str, ...]:
    """Checkpoint, scale, and a cell for each set with the named measures, to so many digits."""
    cells = {
        s.benchmark: " / ".join(_number(getattr(s, name), digits[name]) for name in digits)
        for s in row.scores
        if s.degradation == degradation
    }
    return (
        row.checkpoint,
        f"x{row.scale}",
        *(cells.get(benchmark, NOT_SCORED) for benchmark in BENCHMARKS),
    )


def as_markdown(rows: Sequence[Row]) -> str:
    """The tables, as the field writes them."""
    return "\n\n".join(_markdown(table) for table in tables(rows))


def as_json(rows: Iterable[Row]) -> str:
    """The same rows for programs."""
    return json.dumps([asdict(row) for row in rows], indent=2)


def _markdown(table: Table) -> str:
    heading, *lines = (f"| {' | '.join(line)} |" for line in (table.heading, *table.lines))
    return "\n".join([f"{table.title}:\n", heading, "|" + "---|" * len(table.heading), *lines])


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _giga(count: int) -> str:
    giga = count / 1e9
    return f"{giga:,.0f} G" if giga >= 10 else f"{giga:.2f} G"
