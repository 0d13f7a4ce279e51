import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training.run_state import STATE_FILE, RunState, RunStateError


def state(step: int = 3) -> RunState:
    weights = {"weight": torch.arange(4.0)}
    return RunState(
        recipe={"family": "espcn", "hyperparameters": {"scale": 2}},
        data={"photographs": 3},
        commit="0123abc",
        step=step,
        seconds=1.5,
        curve=[{"step": 2.0, "loss": 0.01, "psnr_db": 30.25}],
        network=weights,
        average=weights,
        optimizer={"state": {}, "param_groups": [{"lr": 0.1}]},
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    state().save(tmp_path / "run")
    loaded = RunState.load(tmp_path / "run")
    assert loaded is not None
    assert (loaded.recipe, loaded.step, loaded.curve) == (state().recipe, 3, state().curve)
    assert torch.equal(loaded.average["weight"], torch.arange(4.0))


def test_an_empty_folder_holds_no_run(tmp_path: Path) -> None:
    assert RunState.load(tmp_path) is None


def test_a_save_that_was_cut_off_leaves_the_state_before(tmp_path: Path) -> None:
    state(step=3).save(tmp_path)
    (tmp_path / f"{STATE_FILE}.partial").write_bytes((tmp_path / STATE_FILE).read_bytes()[:100])
    loaded = RunState.load(tmp_path)
    assert loaded is not None
    assert loaded.step == 3


@pytest.mark.parametrize("content", [b"", b"not a state", b"PK\x03\x04 cut off"])
def test_a_damaged_state_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / STATE_FILE).write_bytes(content)
    with pytest.raises(RunStateError, match="is not the state of a run"):
        RunState.load(tmp_path)


def test_a_state_of_other_fields_is_refused(tmp_path: Path) -> None:
    torch.save({"step": 3}, tmp_path / STATE_FILE)
    with pytest.raises(RunStateError, match="is not the state of a run"):
        RunState.load(tmp_path)


def test_a_field_of_another_type_is_refused(tmp_path: Path) -> None:
    replace(state(), curve={"step": 2.0}).save(tmp_path)  # type: ignore[arg-type]
    with pytest.raises(RunStateError, match="its curve is no list"):
        RunState.load(tmp_path)


def test_a_full_disk_leaves_the_state_before_and_says_so(tmp_path: Path) -> None:
    state(step=3).save(tmp_path)
    script = f"""
import resource, sys
from pathlib import Path
from dataclasses import replace
import torch
from training.run_state import RunState, RunStateError
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # no file may grow beyond it, as on a full disk
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
state = RunState.load(Path({str(tmp_path)!r}))
try:
    replace(state, step=4, network={{"weight": torch.zeros(100_000)}}).save(Path({str(tmp_path)!r}))
except RunStateError as error:
    sys.exit(f"refused: {{error}}")
"""
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "refused: " in finished.stderr
    assert "cannot be written, its last state stays as it was" in finished.stderr
    assert [p.name for p in tmp_path.iterdir()] == [STATE_FILE]
    loaded = RunState.load(tmp_path)
    assert loaded is not None
    assert loaded.step == 3
