import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sr_models import aliases
from sr_models.aliases import ALIASES_FILE
from sr_models.manifest import (
    AUTO_MAX_PARAMETERS,
    CheckpointFolder,
    Manifest,
    ManifestError,
    ModelNotFoundError,
    ScaleNotFoundError,
    Score,
    default_checkpoint_folder,
)
from tests.tiny_checkpoints import publish


def test_a_manifest_reads_what_it_wrote(tmp_path: Path) -> None:
    manifest = publish(tmp_path, psnr_db=30.0).manifest
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert manifest.psnr_db("Set5") == 30.0
    assert manifest.psnr_db("B100") is None


@pytest.mark.parametrize("number", [math.inf, math.nan])
def test_what_json_has_not_is_not_written(tmp_path: Path, number: float) -> None:
    manifest = publish(tmp_path, psnr_db=30.0).manifest
    with pytest.raises(ManifestError, match="not JSON compliant"):
        replace(manifest, scores=(replace(manifest.scores[0], lr_psnr_db=number),)).to_json()


def test_a_set_may_be_scored_once_for_each_degradation(tmp_path: Path) -> None:
    bicubic = Score("B100", 27.5, 0.74, "LR by bicubic", rgb_psnr_db=26.0, lr_psnr_db=45.0, st_lpips=0.11)
    photo = Score("B100", 24.0, 0.6, "LR by blur, noise and JPEG", degradation="photo", st_lpips=0.3)
    manifest = replace(publish(tmp_path).manifest, scores=(photo, bicubic))
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert manifest.psnr_db("B100") == 27.5, "as the field's tables are made"
    assert replace(manifest, scores=(photo,)).psnr_db("B100") is None


def test_a_manifest_from_before_the_newer_measures_is_read(tmp_path: Path) -> None:
    fields = json.loads(publish(tmp_path).manifest.to_json())
    fields["scores"] = [{"benchmark": "Set5", "psnr_db": 30.0, "ssim": 0.9, "protocol": "luma"}]
    [score] = Manifest.from_json(json.dumps(fields)).scores
    assert (score.degradation, score.rgb_psnr_db, score.lr_psnr_db, score.st_lpips, score.lpips) == (
        "bicubic",
        None,
        None,
        None,
        None,
    )
    for unknown in ({"vmaf": 90.0}, {"degradation": "rain"}):
        with pytest.raises(ManifestError, match=r"scores\.0\.(vmaf|degradation)"):
            Manifest.from_json(json.dumps(fields | {"scores": [fields["scores"][0] | unknown]}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"schema_version": 99, "scores": []}',
        '{"schema_version": 1, "scores": [{"x": 1}]}',
    ],
)
def test_anything_else_is_not_a_manifest(text: str) -> None:
    with pytest.raises(ManifestError):
        Manifest.from_json(text)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("family", "../../evil"),
        ("family", "espcn\n"),
        ("scale", "4"),
        ("scale", 2.0),
        ("scale", 1e9),
        ("version", 0),
        ("version", True),
        ("hyperparameters", [2]),
        ("weights_sha256", "x"),
        ("weights_bytes", -1),
        ("halo_px", -3),
        ("halo_px", 10**9),
        ("receptive_radius_px", "4"),
        ("parameters", None),
        ("training", "long"),
        ("scores", None),
        ("schema_version", 2),
    ],
)
def test_a_field_of_another_kind_is_named(tmp_path: Path, field: str, value: object) -> None:
    checkpoint = publish(tmp_path)
    fields = json.loads(checkpoint.manifest.to_json())
    path = checkpoint.folder / "manifest.json"
    path.write_text(json.dumps(fields | {field: value}))
    with pytest.raises(ManifestError, match=rf"{re.escape(str(path))}: not a manifest: {field}: .*"):
        CheckpointFolder(tmp_path).find("espcn", 2)


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", "[" * 100_000])
@pytest.mark.parametrize("field", ["training", "hyperparameters", "scores"])
def test_what_json_has_not_is_not_read(tmp_path: Path, field: str, value: str) -> None:
    fields = json.loads(publish(tmp_path, psnr_db=30.0).manifest.to_json())
    fields[field] = [fields["scores"][0] | {"ssim": "HERE"}] if field == "scores" else {"scale": "HERE"}
    with pytest.raises(ManifestError, match="not a manifest"):
        Manifest.from_json(json.dumps(fields).replace('"HERE"', value))


def test_the_highest_version_is_in_production_unless_an_alias_says_otherwise(tmp_path: Path) -> None:
    for version in (1, 2, 10):
        publish(tmp_path, version=version)
    folder = CheckpointFolder(tmp_path)
    assert folder.find("espcn", 2).manifest.version == 10
    (tmp_path / ALIASES_FILE).write_text(json.dumps({"espcn-x2": {"production": 2}}))
    assert folder.find("espcn", 2).manifest.version == 2
    assert folder.find("espcn@10", 2).manifest.version == 10
    assert [c.manifest.label for c in folder.production()] == ["espcn-x2@2"]


def test_auto_is_the_family_with_the_best_score(tmp_path: Path) -> None:
    publish(tmp_path, "bicubic", psnr_db=28.0)
    publish(tmp_path, "espcn", psnr_db=30.0)
    publish(tmp_path, "bicubic", scale=3)
    folder = CheckpointFolder(tmp_path)
    assert folder.find("auto", 2).manifest.family == "espcn"
    assert folder.find("auto", 3).manifest.family == "bicubic"
    with pytest.raises(ScaleNotFoundError):
        folder.find("auto", 4)


def test_auto_takes_the_smaller_of_two_that_nobody_can_tell_apart(tmp_path: Path) -> None:
    publish(tmp_path, "bicubic", psnr_db=30.0)
    large = publish(tmp_path, "espcn", psnr_db=30.05)
    assert large.manifest.parameters > 0
    manifest = replace(large.manifest, parameters=1_000)
    (large.folder / "manifest.json").write_text(manifest.to_json(), "utf-8")
    smaller = replace(CheckpointFolder(tmp_path).find("bicubic", 2).manifest, parameters=10)
    (tmp_path / "bicubic-x2" / "1" / "manifest.json").write_text(smaller.to_json(), "utf-8")
    assert CheckpointFolder(tmp_path).find("auto", 2).manifest.family == "bicubic"
    better = replace(manifest, scores=tuple(replace(s, psnr_db=30.2) for s in manifest.scores))
    (large.folder / "manifest.json").write_text(better.to_json(), "utf-8")
    assert CheckpointFolder(tmp_path).find("auto", 2).manifest.family == "espcn"


def test_auto_never_takes_a_huge_network(tmp_path: Path) -> None:
    publish(tmp_path, "bicubic", psnr_db=28.0)
    huge = publish(tmp_path, "espcn", psnr_db=40.0)
    manifest = replace(huge.manifest, parameters=AUTO_MAX_PARAMETERS + 1)
    (huge.folder / "manifest.json").write_text(manifest.to_json(), "utf-8")
    folder = CheckpointFolder(tmp_path)
    assert folder.find("auto", 2).manifest.family == "bicubic"
    assert folder.find("espcn", 2).manifest.parameters > AUTO_MAX_PARAMETERS


@pytest.mark.parametrize(
    "model", ["edsr", "espcn@2", "espcn@", "espcn@../1", "", "@", "auto@1", "espcn@1@1", "../espcn"]
)
def test_an_unknown_model_is_not_found(tmp_path: Path, model: str) -> None:
    publish(tmp_path)
    if model == "espcn@":
        assert CheckpointFolder(tmp_path).find(model, 2).manifest.version == 1
        return
    with pytest.raises(ModelNotFoundError):
        CheckpointFolder(tmp_path).find(model, 2)


def test_a_known_model_without_that_scale_says_which_it_has(tmp_path: Path) -> None:
    publish(tmp_path, scale=2)
    publish(tmp_path, scale=3)
    with pytest.raises(ScaleNotFoundError, match="2, 3, not 4"):
        CheckpointFolder(tmp_path).find("espcn", 4)


def test_a_version_that_lies_in_another_place_is_an_error(tmp_path: Path) -> None:
    checkpoint = publish(tmp_path)
    checkpoint.folder.rename(checkpoint.folder.with_name("7"))
    with pytest.raises(ManifestError, match="describes espcn-x2@1"):
        CheckpointFolder(tmp_path).checkpoints()


def test_unfinished_versions_are_not_seen(tmp_path: Path) -> None:
    checkpoint = publish(tmp_path)
    checkpoint.folder.rename(checkpoint.folder.with_name(".2.unfinished"))
    assert CheckpointFolder(tmp_path).checkpoints() == []
    assert CheckpointFolder(tmp_path / "nothing").checkpoints() == []


@pytest.mark.parametrize("reader", ["production", "production_version", "named"])
@pytest.mark.parametrize(
    ("event", "part", "change", "version"),
    [
        ("os.scandir", "", "release", "1"),
        ("open", ALIASES_FILE, "release", "1"),
        ("open", ALIASES_FILE, "release_and_promote", "2"),
        ("os.scandir", "bicubic-x2", "vanish", "1"),
    ],
)
def test_what_changes_meanwhile_confuses_nobody(
    event: str, part: str, change: str, version: str, reader: str, tmp_path: Path
) -> None:
    publish(tmp_path, "bicubic")
    publish(tmp_path)
    publish(tmp_path, version=2).folder.rename(tmp_path / ".2")
    command = [sys.executable, "-m", "tests.unit.sr_models.changing_folder"]
    read = subprocess.run(
        [*command, event, part, reader, change, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert read.stdout.strip() == version, read.stderr


def test_what_is_no_version_is_not_seen(tmp_path: Path) -> None:
    version = publish(tmp_path).folder
    for name in ("01", "0", "-1", "1.5", "²", "9" * 10):
        (tmp_path / "espcn-x2" / name).symlink_to(version)
    (tmp_path / ".hidden-x2").symlink_to(version.parent)
    (tmp_path / "espcn-x2" / "3").mkdir()
    (tmp_path / "espcn-x2" / "4").touch()
    (tmp_path / "readme.txt").touch()
    assert CheckpointFolder(tmp_path).versions() == {"espcn-x2": [1]}


def test_every_shipped_name_has_its_entry() -> None:
    """So that a version that is released later does not take over unasked."""
    folder = default_checkpoint_folder()
    assert set(CheckpointFolder(folder).versions()) <= set(aliases.read(folder))
