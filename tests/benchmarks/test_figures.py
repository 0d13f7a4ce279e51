"""The arithmetic of ratios, percentiles and bars, and what a result file says."""

import json
from pathlib import Path

import pytest

from tests.benchmarks.figures import Bar, Figure, in_turn, percentile, ratios
from tests.benchmarks.machine import description
from tests.benchmarks.mixed_sizes import LARGEST_PX, SMALLEST_PX, sizes_px
from tests.benchmarks.plan import QUICK
from tests.benchmarks.results import Circumstances, write


def test_measures_are_taken_in_turn() -> None:
    order = []

    def measure(name: str, value: float) -> float:
        order.append(name)
        return value + len(order)

    baseline, ours = in_turn(3, lambda: measure("baseline", 0.0), lambda: measure("ours", 10.0))
    assert order == ["baseline", "ours"] * 3
    assert baseline == (1.0, 3.0, 5.0)
    assert ours == (12.0, 14.0, 16.0)


def test_a_ratio_is_of_one_round() -> None:
    # The machine was four times as slow in the second round: the ratio does not show it, one of medians would.
    assert ratios((2.0, 8.0, 3.0), by=(4.0, 16.0, 3.0)) == (0.5, 0.5, 1.0)
    with pytest.raises(ValueError, match="shorter"):
        ratios((1.0, 2.0), by=(1.0,))


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        (range(1, 101), 95, 95),
        (range(40, 0, -1), 95, 38),
        ([3.0, 1.0, 2.0], 50, 2.0),
        ([3.0, 1.0, 2.0], 100, 3.0),
        ([7.0], 95, 7.0),
    ],
)
def test_a_percentile_is_one_of_the_values(values: list[float], percent: float, expected: float) -> None:
    assert percentile(values, percent) == expected


@pytest.mark.parametrize(
    ("bar", "value", "reached"),
    [
        (Bar(0.94), 0.94, True),
        (Bar(0.94), 0.939, False),
        (Bar(2.5, at_most=True), 2.5, True),
        (Bar(2.5, at_most=True), 2.51, False),
    ],
)
def test_a_bar_itself_is_reached(bar: Bar, value: float, reached: bool) -> None:
    assert bar.reached(value) is reached


def test_a_figure_says_its_median_spread_and_verdict() -> None:
    figure = Figure("speed", "ratio", (0.9, 1.5, 0.95), "nothing", Bar(0.94), "2 against 3")
    line = str(figure)
    assert line.split()[:2] == ["0.95", "ratio"]
    assert "[0.90 to 1.50]" in line
    assert ">= 0.94 reached" in line
    assert line.endswith("speed (against nothing); 2 against 3")
    stored = json.loads(json.dumps(figure.to_json()))
    assert (stored["median"], stored["runs"], stored["bar"], stored["reached"]) == (
        0.95,
        [0.9, 1.5, 0.95],
        ">= 0.94",
        True,
    )


def test_a_bar_is_held_by_the_median_alone() -> None:
    figure = Figure("latency", "ratio", (2.0, 2.6, 9.0), "", Bar(2.5, at_most=True))
    assert "<= 2.5 NOT reached" in str(figure)
    assert figure.to_json()["reached"] is False


def test_mixed_sizes_are_the_same_each_time_and_have_a_heavy_tail() -> None:
    sizes = sizes_px(200)
    assert sizes == sizes_px(200)
    sides = [side for size in sizes for side in size]
    assert min(sides) >= SMALLEST_PX
    assert max(sides) == LARGEST_PX
    pixels = sorted(width * height for width, height in sizes)
    assert sum(pixels[-20:]) > sum(pixels[:-20])


def test_a_result_file_says_what_was_measured_on_what(tmp_path: Path) -> None:
    circumstances = Circumstances("python -m tests.benchmarks", QUICK, description("cpu"), commit="0123abc")
    path = write(circumstances, [Figure("speed", "ratio", (0.5,))], tmp_path / "results")
    stored = json.loads(path.read_text())
    assert (stored["command"], stored["commit"]) == ("python -m tests.benchmarks", "0123abc")
    assert (stored["plan"]["runs"], stored["figures"][0]["median"]) == (QUICK.runs, 0.5)
    assert stored["machine"]["cores"] >= 1
    assert stored["machine"]["processor"]
    assert stored["versions"]["torch"]
    assert stored["date"].startswith(path.name[:10])
