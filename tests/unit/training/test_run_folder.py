import os
import subprocess
import sys
from pathlib import Path

import pytest

from training.run_folder import claimed
from training.run_state import RunStateError


def test_a_second_run_is_kept_out_until_the_first_ends(tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from training.run_folder import claimed\nwith claimed(Path(sys.argv[1])): pass"
    command = [sys.executable, "-c", script, str(tmp_path / "run")]
    with claimed(tmp_path / "run"):
        refused = subprocess.run(command, capture_output=True, text=True)
    assert f"another run is at work in {tmp_path / 'run'}; give another --out" in refused.stderr
    assert subprocess.run(command).returncode == 0


def test_the_other_processes_of_a_run_are_let_in(tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from training.run_folder import claimed\nwith claimed(Path(sys.argv[1])): pass"
    with claimed(tmp_path):
        beside = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)], env={**os.environ, "RANK": "1"}
        )
    assert beside.returncode == 0


def test_a_folder_that_cannot_be_made_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(RunStateError, match=r"cannot be written: .*; give another --out"),
        claimed(tmp_path / "file" / "run"),
    ):
        pass
