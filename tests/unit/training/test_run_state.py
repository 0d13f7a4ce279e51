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
        curve=[(2, 30.25)],
        network=weights,
        average=weights,
        optimizer={"state": {}, "param_groups": [{"lr": 0.1}]},
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    state().save(tmp_path / "run")
    loaded = RunState.load(tmp_path / "run")
    assert loaded is not None
    assert (loaded.recipe, loaded.step, loaded.curve) == (state().recipe, 3, [(2, 30.25)])
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
