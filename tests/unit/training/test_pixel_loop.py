import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from tests.unit.training.conftest import tiny_recipe
from training.dataset import DatasetError
from training.pixel_loop import train
from training.run_state import RunState, RunStateError


class StopAfter:
    """Asks for a stop at a step, as a signal between two steps does."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def __enter__(self) -> "StopAfter":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def requested(self) -> bool:
        self._left -= 1
        return self._left < 0


def test_the_loss_falls(photographs: Path, benchmarks: Path, tmp_path: Path) -> None:
    short = train(tiny_recipe(steps=2), photographs, tmp_path / "short", benchmarks / "Set5")
    long = train(tiny_recipe(steps=150), photographs, tmp_path / "long", benchmarks / "Set5")
    assert long.curve[-1]["psnr_db"] > short.curve[-1]["psnr_db"] + 3.0


@pytest.mark.parametrize("stop_after", [1, 4, 23])
def test_a_stopped_run_ends_as_if_it_had_not_been(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    whole = train(tiny_recipe(steps=30), photographs, tmp_path / "whole")

    with monkeypatch.context() as patched:
        patched.setattr("training.pixel_loop.Interruption", lambda: StopAfter(stop_after))
        stopped = train(tiny_recipe(steps=30), photographs, tmp_path / "resumed")
    assert stopped.step == stop_after
    resumed = train(tiny_recipe(steps=30), photographs, tmp_path / "resumed")

    assert resumed.step == whole.step == 30
    for name, weight in whole.network.items():
        assert torch.equal(weight, resumed.network[name]), name
        assert torch.equal(whole.average[name], resumed.average[name]), name


def test_a_finished_run_is_left_as_it_is(photographs: Path, tmp_path: Path) -> None:
    first = train(tiny_recipe(), photographs, tmp_path)
    again = train(tiny_recipe(), photographs, tmp_path)
    assert again.step == first.step
    assert torch.equal(again.average["features.weight"], first.average["features.weight"])


def test_another_recipe_in_the_same_folder_is_refused(photographs: Path, tmp_path: Path) -> None:
    train(tiny_recipe(), photographs, tmp_path)
    with pytest.raises(RunStateError, match=r"another recipe, other photographs .*; give another --out"):
        train(replace(tiny_recipe(), seed=2), photographs, tmp_path)


def test_a_run_that_explodes_says_so(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        train(replace(tiny_recipe(steps=50), learning_rate=1e30), photographs, tmp_path)


def test_a_run_that_explodes_near_its_end_keeps_nothing(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        train(replace(tiny_recipe(steps=8), learning_rate=1e30), photographs, tmp_path)
    assert RunState.load(tmp_path) is None


def test_photographs_smaller_than_a_patch_are_refused(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no photograph is large enough for an LR patch of 64 px"):
        train(replace(tiny_recipe(), patch_px=64), photographs, tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_run_and_ends_it_well(
    photographs: Path, tmp_path: Path, number: signal.Signals
) -> None:
    command = [
        sys.executable,
        "-m",
        "training",
        "run",
        "espcn-x2",
        "--data",
        str(photographs),
        "--threads",
        "1",
    ]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stderr is not None
    while "step" not in process.stderr.read(40):  # the bar is drawn once the handlers stand
        assert process.poll() is None
    time.sleep(0.5)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "the same command goes on from there" in out
    state = RunState.load(tmp_path)
    assert state is not None
    assert 0 < state.step < state.recipe["steps"]


def test_the_state_holds_the_whole_recipe(photographs: Path, tmp_path: Path) -> None:
    assert train(tiny_recipe(), photographs, tmp_path).recipe == asdict(tiny_recipe())
