"""A figure: a ratio or a cost, measured several times, and the bar that it should reach."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Bar:
    """What a figure should be: at least its limit, or at most."""

    limit: float
    at_most: bool = False

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.limit:g}"

    def reached(self, value: float) -> bool:
        return value <= self.limit if self.at_most else value >= self.limit


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    unit: str
    runs: tuple[float, ...]
    """A value for each time that it was measured."""
    baseline: str = ""
    """What a ratio compares with; measured in turn with it."""
    bar: Bar | None = None
    note: str = ""
    """The absolute values that a ratio comes from, or how it was measured."""

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    def __str__(self) -> str:
        spread = f"{min(self.runs):.2f} to {max(self.runs):.2f}"
        verdict = ""
        if self.bar:
            verdict = f"{self.bar} {'reached' if self.bar.reached(self.median) else 'NOT reached'}"
        against = f" (against {self.baseline})" if self.baseline else ""
        note = f"; {self.note}" if self.note else ""
        return f"{self.median:9.2f} {self.unit:6} {f'[{spread}]':20} {verdict:20}  {self.name}{against}{note}"

    def to_json(self) -> dict[str, Any]:
        """For the result file."""
        verdict = {"bar": str(self.bar), "reached": self.bar.reached(self.median)} if self.bar else {}
        return {**asdict(self), "median": self.median, **verdict}


def in_turn(runs: int, *measures: Callable[[], float]) -> list[tuple[float, ...]]:
    """The values of each measure, taken first, second, …, first, second, … so that what happens to the machine happens to all."""
    rounds = [tuple(measure() for measure in measures) for _ in range(runs)]
    return list(zip(*rounds, strict=True))


def ratios(values: Sequence[float], by: Sequence[float]) -> tuple[float, ...]:
    """Each value by what was measured in the same round."""
    return tuple(value / other for value, other in zip(values, by, strict=True))


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]
