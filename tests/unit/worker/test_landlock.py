"""What a process can still do once it has confined itself."""

import subprocess
import sys
from pathlib import Path

import pytest

CONFINED = """
import sys
from pathlib import Path
from worker.landlock import confine_to_reading

inside, outside = map(Path, sys.argv[1:])
open_before = (outside / "file").open()
if not confine_to_reading([inside]):
    print("no Landlock")
    sys.exit()
assert (inside / "folder" / "file").read_text() == "inside"
assert [path.name for path in inside.iterdir()] == ["folder"]
assert open_before.read() == "outside", "what is open stays so"
refused = []
for attempt in (
    (outside / "file").read_text,
    lambda: next(outside.iterdir()),
    lambda: (inside / "new").write_text(""),
    lambda: (inside / "folder" / "file").unlink(),
    lambda: (inside / "folder" / "file").rename(inside / "file"),
    lambda: (inside / "new").mkdir(),
    lambda: (inside / "new").symlink_to(outside),
):
    try:
        attempt()
    except PermissionError:
        refused.append(attempt)
print("refused", len(refused))
"""


def test_nothing_is_left_but_to_read_in_the_folders(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    (inside / "folder").mkdir(parents=True)
    outside.mkdir()
    (inside / "folder" / "file").write_text("inside")
    (outside / "file").write_text("outside")
    told = subprocess.run(
        [sys.executable, "-c", CONFINED, str(inside), str(outside)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if told == "no Landlock\n":
        pytest.skip("this kernel has no Landlock")
    assert told == "refused 7\n"
    assert [path.name for path in inside.iterdir()] == ["folder"]


def test_a_folder_that_is_not_there_is_an_error() -> None:
    code = "from pathlib import Path; from worker.landlock import *; print(confine_to_reading([Path('/no/such')]))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if ended.stdout == "False\n":
        pytest.skip("this kernel has no Landlock")
    assert "FileNotFoundError" in ended.stderr
