import re
import subprocess
from pathlib import Path

import pytest

from training import commit


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


def test_changed_networks_make_the_commit_dirty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commit, "_CHECKOUT", tmp_path)
    assert commit.current_commit() == "unknown"

    (tmp_path / "sr_models").mkdir()
    (tmp_path / "sr_models" / "network.py").write_text("layers = 3")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "Begin")
    assert re.fullmatch("[0-9a-f]{40}", commit.current_commit())

    (tmp_path / "notes.txt").write_text("of no consequence")
    assert not commit.current_commit().endswith("-dirty")
    (tmp_path / "sr_models" / "network.py").write_text("layers = 4")
    assert commit.current_commit().endswith("-dirty")
