"""A file is named for the noun that it holds, and short enough to be read at once."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DRAWERS = {"utils", "util", "common", "helpers", "helper", "misc", "base", "core", "shared", "tools", "stuff"}
MAX_LINES = 500


def _tracked_python_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z", "*.py"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).exists()]


def test_no_file_is_a_drawer() -> None:
    assert [path for path in _tracked_python_files() if DRAWERS & {path.stem, path.parent.name}] == []


def test_no_file_is_longer_than_a_reader_bears() -> None:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in _tracked_python_files()}
    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}
