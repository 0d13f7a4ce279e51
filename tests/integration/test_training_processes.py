"""Training as real processes: killed with SIGKILL, and two that share each step."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.unit.training import run_process
from tests.unit.training.conftest import soft_noise
from training.run_state import STATE_FILE, RunState

STEPS = 60
ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(Path(run_process.__file__).parents[3]),
}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(3):
        Image.fromarray(soft_noise(seed, 97, 81)).save(folder / f"{seed}.png")
    return folder


def command(photographs: Path, out: Path) -> list[str]:
    return [run_process.__file__, str(photographs), str(out), str(STEPS)]


def finished(out: Path) -> RunState:
    state = RunState.load(out)
    assert state is not None
    assert state.step == STEPS
    return state


@pytest.fixture(scope="module")
def uninterrupted(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> RunState:
    out = tmp_path_factory.mktemp("uninterrupted")
    subprocess.run([sys.executable, *command(photographs, out)], check=True, env=ENVIRONMENT)
    return finished(out)


def test_a_run_killed_again_and_again_ends_in_the_same_weights(
    photographs: Path,
    uninterrupted: RunState,
    tmp_path: Path,
) -> None:
    steps_at_death = []
    for delay_s in random.Random(1).sample([0.0, 0.05, 0.1, 0.2, 0.3], 3):
        before = (tmp_path / STATE_FILE).stat().st_mtime_ns if (tmp_path / STATE_FILE).exists() else 0
        process = subprocess.Popen([sys.executable, *command(photographs, tmp_path)], env=ENVIRONMENT)
        while not (tmp_path / STATE_FILE).exists() or (tmp_path / STATE_FILE).stat().st_mtime_ns == before:
            assert process.poll() is None
            time.sleep(0.005)
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        state = RunState.load(tmp_path)
        assert state is not None
        steps_at_death.append(state.step)
    assert 0 < steps_at_death[0] < STEPS
    subprocess.run([sys.executable, *command(photographs, tmp_path)], check=True, env=ENVIRONMENT)

    resumed = finished(tmp_path)
    for name, weight in uninterrupted.network.items():
        assert torch.equal(weight, resumed.network[name]), name
        assert torch.equal(uninterrupted.average[name], resumed.average[name]), name
    assert resumed.curve[-1]["step"] == STEPS


def test_two_processes_give_the_result_of_one(
    photographs: Path,
    uninterrupted: RunState,
    tmp_path: Path,
) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*torchrun, *command(photographs, tmp_path)], check=True, env=ENVIRONMENT)
    shared = finished(tmp_path)
    for name, weight in uninterrupted.average.items():
        torch.testing.assert_close(shared.average[name], weight, rtol=0, atol=1e-4, msg=name)
