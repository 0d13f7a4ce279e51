import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from sr_models.manifest import MANIFEST_FILE, CheckpointFolder
from tests.tiny_checkpoints import publish
from training.evaluate_command import evaluate_command
from training.release import release_bicubic


@pytest.fixture
def published(benchmarks: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "published"
    release_bicubic(2, benchmarks, folder)
    publish(folder)
    return folder


def invoked(published: Path, data: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        evaluate_command, ["--data", str(data), "--checkpoints", str(published), *arguments]
    )


def test_tables_on_stdout_and_the_verdict_beside(published: Path, benchmarks: Path) -> None:
    result = invoked(published, benchmarks, "--check")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("| bicubic-x2@1 | x2 |") == result.stdout.count("| espcn-x2@1 | x2 |") == 2
    assert result.stderr == "15 of 15 published numbers were reproduced.\n"


def test_a_manifest_that_claims_too_much_is_found(published: Path, benchmarks: Path) -> None:
    manifest = CheckpointFolder(published).find("bicubic", 2)
    path = manifest.folder / MANIFEST_FILE
    honest = manifest.manifest.scores[0].psnr_db
    path.write_text(path.read_text("utf-8").replace(str(honest), str(honest + 0.02)), "utf-8")
    usual = invoked(published, benchmarks, "--json")
    assert usual.exit_code == 0
    assert "14 of 15 published numbers were reproduced." in usual.stderr
    assert json.loads(usual.stdout)[0]["scores"][0]["psnr_db"] == honest
    checked = invoked(published, benchmarks, "--check")
    assert checked.exit_code == 1
    assert "bicubic-x2@1 Set5 (bicubic): psnr_db" in checked.stderr


def test_the_page_is_written(published: Path, benchmarks: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = invoked(published, benchmarks, "--models", "bicubic", "--html", str(page))
    assert result.exit_code == 0, result.output
    assert "bicubic-x2@1" in page.read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "none"], "no model 'none' is published"),
        (["--lpips", "missing.pth"], "missing.pth cannot be read as weights"),
    ],
)
def test_a_mistake_is_answered_in_one_line(
    published: Path, benchmarks: Path, arguments: list[str], message: str
) -> None:
    result = invoked(published, benchmarks, *arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert message in result.stderr
    assert "Error: " in result.stderr


def test_a_page_that_cannot_be_written_is_said_before_anything_is_scored(tmp_path: Path) -> None:
    page = tmp_path / "no" / "page.html"
    refused = invoked(tmp_path, tmp_path, "--html", str(page))
    assert (refused.exit_code, refused.stderr) == (
        1,
        f"Error: {page} cannot be written: No such file or directory; name another file by --html\n",
    )


def test_looking_whether_a_page_can_be_written_leaves_no_trace(tmp_path: Path) -> None:
    before = tmp_path / "before.html"
    before.write_text("an earlier page")
    for page in (before, tmp_path / "new.html"):
        assert invoked(tmp_path, tmp_path, "--models", "none", "--html", str(page)).exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["before.html"]
    assert before.read_text() == "an earlier page"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_device_that_is_not_there_is_named_before_anything_is_read(tmp_path: Path) -> None:
    result = invoked(tmp_path, tmp_path, "--device", "cuda")
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: torch finds no CUDA device here: leave --device out\n",
    )
