import json
from pathlib import Path
from typing import cast

import pytest
from click.testing import CliRunner
from PIL import Image

from tests.unit.training.conftest import tiny_recipe
from training.__main__ import main
from training.recipes.catalog import RECIPES


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setitem(cast(dict[str, object], RECIPES), "espcn-x2", tiny_recipe)
    return CliRunner()


def test_from_photographs_to_a_scored_version(
    runner: CliRunner, photographs: Path, benchmarks: Path, tmp_path: Path
) -> None:
    run, published = str(tmp_path / "run"), str(tmp_path / "published")
    data = ["--data", str(photographs), "--out", run, "--validate", str(benchmarks / "Set5")]
    trained = runner.invoke(main, ["run", "espcn-x2", *data], catch_exceptions=False)
    assert f"Done. Publish it: python -m training release {run}" in trained.output

    where = ["--benchmarks", str(benchmarks), "--checkpoints", published]
    released = runner.invoke(
        main,
        ["release", run, *where, "--licence", "CC0-1.0", "--terms", "made for a test", "--even-if-poor"],
        catch_exceptions=False,
    )
    assert released.output.startswith(f"Released espcn-x2@1 in {published}/espcn-x2/1\nPSNR: Set5 ")
    baseline = runner.invoke(main, ["release-bicubic", *where], catch_exceptions=False)
    assert baseline.output.count("Released") == 3

    scored = runner.invoke(
        main,
        ["evaluate", "--models", "espcn", "--data", str(benchmarks), "--checkpoints", published, "--json"],
    )
    assert [row["checkpoint"] for row in json.loads(scored.stdout)] == ["bicubic-x2@1", "espcn-x2@1"]


def test_a_validation_picture_too_small_to_score_is_named_before_the_first_step(
    runner: CliRunner, photographs: Path, tmp_path: Path
) -> None:
    (tmp_path / "valid").mkdir()
    Image.new("RGB", (12, 12)).save(tmp_path / "valid" / "tiny.png")
    data = ["--data", str(photographs), "--out", str(tmp_path / "run"), "--validate", str(tmp_path / "valid")]
    result = runner.invoke(main, ["run", "espcn-x2", *data])
    assert result.exit_code == 1
    assert "tiny.png is too small to be scored" in result.output
    assert "step" not in result.output


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["run", "espcn-x2", "--data", "empty"], "holds no pictures"),
        (["run", "espcn-x2", "--data", "empty", "--out", "file/run"], "cannot be written"),
        (["run", "espcn-x2", "--data", "."], "choose another --out"),
        (["release", ".", "--benchmarks", ".", "--licence", "CC0-1.0", "--terms", "x"], "holds no run"),
        (["release-bicubic", "--benchmarks", ".", "--checkpoints", "."], "holds none of the benchmark sets"),
        (
            ["evaluate", "--models", "none", "--data", ".", "--checkpoints", "."],
            "no model 'none' is published",
        ),
        (["evaluate", "--data", ".", "--checkpoints", "."], "no checkpoint is published"),
    ],
)
def test_a_mistake_is_answered_in_one_line(
    runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"")
    Path("empty").mkdir()
    result = runner.invoke(main, command)
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output
