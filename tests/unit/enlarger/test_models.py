import json
import os
from dataclasses import replace
from math import nan
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from enlarger.cli import main
from enlarger.promotion import lower_scores
from sr_models import aliases
from sr_models.aliases import ALIASES_FILE, Alias
from sr_models.catalog import build
from sr_models.checkpoint import write
from sr_models.manifest import MANIFEST_FILE, CheckpointFolder, Score
from tests.tiny_checkpoints import publish


def models(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["models", "--checkpoints", str(folder), *arguments])


def refused(folder: Path, *arguments: str) -> str:
    before = aliases.read(folder)
    result = models(folder, *arguments)
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    assert aliases.read(folder) == before
    return result.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Version 1 in production, 2 worse by what float16 may cost, 3 worse by more."""
    publish(tmp_path, version=1, psnr_db=30.0)
    aliases.write(tmp_path, {"espcn-x2": Alias(1)})
    publish(tmp_path, version=2, psnr_db=29.99)
    publish(tmp_path, version=3, psnr_db=29.9)
    return tmp_path


def test_the_list_names_what_is_in_production(folder: Path) -> None:
    publish(folder, "bicubic", psnr_db=28.0)
    shown = models(folder)
    assert [line.split()[:5] for line in shown.output.splitlines()[1:]] == [
        ["bicubic", "x2", "1", "28.00", "dB"],
        ["espcn", "x2", "1", "30.00", "dB"],
    ]
    assert models(folder, "list").output == shown.output


def test_the_folder_may_be_named_before_or_after_and_by_the_environment(folder: Path, tmp_path: Path) -> None:
    expected = models(folder, "list").output
    for arguments in (["models", "list", "--checkpoints", str(folder)], ["models", "list"]):
        shown = CliRunner().invoke(main, arguments, env={"ENLARGER_CHECKPOINTS": str(folder)})
        assert shown.output == expected
    other = tmp_path / "other"
    other.mkdir()
    both = CliRunner().invoke(
        main,
        ["models", "--checkpoints", str(folder), "list"],
        env={"ENLARGER_CHECKPOINTS": str(other)},
    )
    assert both.output == expected


def test_show_tells_a_person(folder: Path) -> None:
    shown = models(folder, "show", "espcn-x2").output
    assert "espcn-x2@1, in production" in shown
    assert "espcn(scale=2), sees luma" in shown
    assert "30.0000" in shown
    assert "espcn-x2@2, not in production" in models(folder, "show", "espcn-x2@2").output


def test_show_tells_a_program(folder: Path) -> None:
    shown = models(folder, "show", "espcn-x2@2", "--json").output
    assert shown == (folder / "espcn-x2" / "2" / MANIFEST_FILE).read_text()


def test_verify_names_the_damaged_ones(folder: Path) -> None:
    publish(folder, "bicubic")
    assert models(folder, "verify").exit_code == 0
    os.truncate(folder / "espcn-x2" / "2" / "model.safetensors", 9)
    (folder / "espcn-x2" / "3" / MANIFEST_FILE).write_text("{}")
    result = models(folder, "verify")
    assert result.exit_code == 1
    assert "bicubic-x2@1  whole\nespcn-x2@1  whole\nespcn-x2@2  damaged: " in result.output
    assert "Error: damaged: espcn-x2@2, espcn-x2@3;" in result.output
    assert models(folder, "verify", "bicubic-x2", "espcn-x2@1").exit_code == 0
    assert models(folder, "verify", "espcn-x2").exit_code == 1
    assert "espcn-x3 is not published" in refused(folder, "verify", "espcn-x3")


def test_promotion_and_the_way_back(folder: Path) -> None:
    promoted = models(folder, "promote", "espcn-x2@2")
    assert promoted.output == "espcn-x2@2 is in production instead of espcn-x2@1\n"
    assert CheckpointFolder(folder).find("espcn", 2).manifest.version == 2
    assert json.loads((folder / ALIASES_FILE).read_text()) == {"espcn-x2": {"production": 2, "previous": [1]}}
    back = models(folder, "rollback", "espcn-x2")
    assert back.output == "espcn-x2@1 is in production instead of espcn-x2@2\n"
    assert CheckpointFolder(folder).find("espcn", 2).manifest.version == 1
    assert "was in production before" in refused(folder, "rollback", "espcn-x2")
    assert "no model 'espcn-x9' is published" in refused(folder, "rollback", "espcn-x9")


def test_a_worse_version_needs_force(folder: Path) -> None:
    message = refused(folder, "promote", "espcn-x2@3")
    assert "espcn-x2@3 does not score as high as espcn-x2@1" in message
    assert "PSNR on Set5 is 29.90 dB instead of 30.00" in message
    assert models(folder, "promote", "espcn-x2@3", "--force").exit_code == 0
    assert aliases.read(folder)["espcn-x2"] == Alias(3, (1,))


def test_without_an_entry_the_highest_version_is_what_gets_replaced(folder: Path) -> None:
    (folder / ALIASES_FILE).unlink()
    assert models(folder, "promote", "espcn-x2@3").output == "espcn-x2@3 is in production\n"
    (folder / ALIASES_FILE).unlink()
    assert models(folder, "promote", "espcn-x2@1").exit_code == 0
    assert aliases.read(folder)["espcn-x2"] == Alias(1, (3,))


def test_a_table_that_names_a_missing_version_can_be_mended(folder: Path) -> None:
    aliases.write(folder, {"espcn-x2": Alias(9, (1,))})
    assert "puts espcn-x2@9 in production, which is not published" in refused(folder)
    assert models(folder, "promote", "espcn-x2@2").output == "espcn-x2@2 is in production\n"
    assert models(folder, "rollback", "espcn-x2").exit_code == 0


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("espcn-x2", "names no version; there are: espcn-x2@1"),
        ("espcn-x2@4", "espcn-x2@4 is not published; there are: espcn-x2@1, espcn-x2@2, espcn-x2@3"),
        ("espcn-x2@01", "not published"),
        ("../espcn-x2@1", "no model '../espcn-x2' is published"),
        ("edsr-x2@1", "no model 'edsr-x2' is published"),
        ("espcn-x2@1", "is in production already"),
    ],
)
def test_what_cannot_be_promoted(folder: Path, version: str, message: str) -> None:
    assert message in refused(folder, "promote", version)


def test_damaged_weights_are_not_promoted_even_by_force(folder: Path) -> None:
    os.truncate(folder / "espcn-x2" / "2" / "model.safetensors", 9)
    assert "was not put in production" in refused(folder, "promote", "espcn-x2@2", "--force")


def test_a_rollback_to_damaged_weights_is_refused(folder: Path) -> None:
    models(folder, "promote", "espcn-x2@2")
    os.truncate(folder / "espcn-x2" / "1" / "model.safetensors", 9)
    assert "was not put in production" in refused(folder, "rollback", "espcn-x2")


def test_scores_are_compared_where_both_have_them(folder: Path) -> None:
    manifest = publish(folder, scale=3).manifest
    set5, b100 = Score("Set5", 30.0, 0.9, "a"), Score("B100", 27.0, 0.8, "a")
    old = replace(manifest, scores=(set5, b100))
    assert lower_scores(old, old) == []
    assert lower_scores(replace(manifest, scores=(*old.scores, replace(set5, benchmark="Set14"))), old) == []
    otherwise = tuple(replace(score, psnr_db=9.0, protocol="b") for score in old.scores)
    assert lower_scores(replace(manifest, scores=otherwise), old) == []
    better_and_worse = (replace(set5, psnr_db=31.0), replace(b100, psnr_db=26.98))
    assert lower_scores(replace(manifest, scores=better_and_worse), old) == [
        "PSNR on B100 is 26.98 dB instead of 27.00"
    ]


def test_a_version_that_was_scored_on_less_needs_force(folder: Path) -> None:
    publish(folder, version=4)
    assert "it has no score on Set5 with LR by bicubic" in refused(folder, "promote", "espcn-x2@4")
    assert models(folder, "promote", "espcn-x2@4", "--force").exit_code == 0


@pytest.mark.parametrize("recipe", [{}, {"adversarial_weight": 0.01}])
def test_a_score_that_is_no_number_is_a_lower_one(recipe: dict[str, float], folder: Path) -> None:
    score = Score("Set5", 28.0, 0.8, "a", st_lpips=0.08)
    old = replace(publish(folder, scale=3).manifest, training={"recipe": recipe}, scores=(score,))
    [phrase] = lower_scores(replace(old, scores=(replace(score, psnr_db=nan, st_lpips=nan),)), old)
    assert "is nan" in phrase


def test_what_cannot_enlarge_a_picture_is_damaged(folder: Path) -> None:
    wrong = replace(CheckpointFolder(folder).version("espcn-x2", 2).manifest, scale=3)
    (folder / "espcn-x2" / "2").rename(folder / "espcn-x2" / "gone")
    (folder / "espcn-x3").mkdir()
    (folder / "espcn-x2" / "gone").rename(folder / "espcn-x3" / "2")
    (folder / "espcn-x3" / "2" / MANIFEST_FILE).write_text(wrong.to_json())
    assert "espcn-x3@2 does not enlarge a picture" in refused(folder, "promote", "espcn-x3@2", "--force")


def test_adversarial_training_is_judged_by_perception(folder: Path) -> None:
    gan = replace(publish(folder, scale=3).manifest, training={"recipe": {"adversarial_weight": 0.01}})
    score = Score("Set5", 28.0, 0.8, "a", st_lpips=0.08)
    old = replace(gan, scores=(score,))
    assert lower_scores(replace(gan, scores=(replace(score, psnr_db=27.0, st_lpips=0.07),)), old) == []
    assert lower_scores(replace(gan, scores=(replace(score, psnr_db=29.0, st_lpips=0.09),)), old) == [
        "ST-LPIPS on Set5 is 0.0900 instead of 0.0800"
    ]
    blind = replace(gan, scores=(replace(score, psnr_db=27.0, st_lpips=None),))
    assert lower_scores(blind, old) == ["PSNR on Set5 is 27.00 dB instead of 28.00"]
    plain = replace(old, training={"recipe": ["adversarial_weight"]})
    assert lower_scores(old, replace(plain, scores=(replace(score, psnr_db=30.0, st_lpips=0.2),))) != []


def test_what_makes_no_numbers_is_damaged(folder: Path) -> None:
    checkpoint = CheckpointFolder(folder).version("espcn-x2", 2)
    network = build("espcn", {"scale": 2})
    torch.nn.init.constant_(next(network.parameters()), torch.nan)
    sha256, size_bytes = write(checkpoint.folder, network)
    manifest = replace(checkpoint.manifest, weights_sha256=sha256, weights_bytes=size_bytes)
    (checkpoint.folder / MANIFEST_FILE).write_text(manifest.to_json())
    message = refused(folder, "promote", "espcn-x2@2", "--force")
    assert "espcn-x2@2 made samples that are no numbers" in message
