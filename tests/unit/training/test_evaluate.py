from dataclasses import replace
from pathlib import Path

import pytest

from sr_models.bicubic import Bicubic
from sr_models.cost import multiply_adds
from sr_models.espcn import ESPCN
from sr_models.manifest import MANIFEST_FILE, CheckpointFolder
from sr_models.upscaler import Upscaler
from tests.tiny_checkpoints import publish
from training.dataset import DatasetError, read_pairs
from training.evaluate import choose, evaluate, perceptual_distances, score, score_all
from training.release import bicubic_manifest, release_bicubic
from training.scores import PROTOCOLS
from training.stlpips import st_lpips


@pytest.fixture(scope="module")
def published(benchmarks: Path, tmp_path_factory: pytest.TempPathFactory) -> CheckpointFolder:
    """Bicubic at x2 and x3 with its scores, ESPCN at x2 without, whose second version is in production."""
    folder = tmp_path_factory.mktemp("published")
    for scale in (2, 3):
        release_bicubic(scale, benchmarks, folder)
    for version in (1, 2):
        publish(folder, version=version)
    return CheckpointFolder(folder)


def labels(published: CheckpointFolder, *models: str, all_versions: bool = False) -> list[str]:
    return [c.manifest.label for c in choose(published, models, all_versions)]


def test_bicubic_enlarges_smooth_pictures_well(benchmarks: Path) -> None:
    upscaler = Upscaler(Bicubic(2), bicubic_manifest(2))
    result = score(
        upscaler, read_pairs(benchmarks / "Set5", 2), "Set5", distances=perceptual_distances("cpu")
    )
    assert (result.benchmark, result.protocol) == ("Set5", PROTOCOLS["bicubic"])
    assert result.psnr_db > 25.0
    assert 0.8 < result.ssim < 1.0
    assert result.rgb_psnr_db is not None
    assert result.rgb_psnr_db < result.psnr_db, "the eye's channel is the easy one"
    assert result.lr_psnr_db is not None
    assert result.lr_psnr_db > 30.0
    assert result.st_lpips is not None
    assert 0.0 < result.st_lpips < 0.5


def test_a_run_is_validated_without_the_costly_measures(benchmarks: Path) -> None:
    upscaler = Upscaler(Bicubic(2), bicubic_manifest(2))
    assert score(upscaler, read_pairs(benchmarks / "Set5", 2), "validation").st_lpips is None


def test_other_degradations_are_harder_and_named(benchmarks: Path, tmp_path: Path) -> None:
    (tmp_path / "Set5").symlink_to(benchmarks / "Set5")
    upscaler = Upscaler(Bicubic(2), bicubic_manifest(2))
    [bicubic], [photo] = score_all(upscaler, tmp_path), score_all(upscaler, tmp_path, degradation="photo")
    assert (photo.degradation, photo.protocol) == ("photo", PROTOCOLS["photo"])
    assert photo.psnr_db < bicubic.psnr_db
    assert photo.lr_psnr_db is None, "nobody should be consistent with noise"


def test_the_sets_that_are_there_are_scored(benchmarks: Path, tmp_path: Path) -> None:
    upscaler = Upscaler(Bicubic(2), bicubic_manifest(2))
    with pytest.raises(DatasetError, match="none of the benchmark sets"):
        score_all(upscaler, tmp_path)
    (tmp_path / "B100").symlink_to(benchmarks / "B100")
    assert [score.benchmark for score in score_all(upscaler, tmp_path)] == ["B100"]


def test_models_are_chosen_by_family_name_and_version(published: CheckpointFolder) -> None:
    assert labels(published) == ["bicubic-x2@1", "espcn-x2@2", "bicubic-x3@1"]
    assert labels(published, "espcn") == ["bicubic-x2@1", "espcn-x2@2"], "bicubic beside it, and first"
    assert labels(published, "espcn@1") == labels(published, "espcn-x2@1") == ["bicubic-x2@1", "espcn-x2@1"]
    both = ["bicubic-x2@1", "espcn-x2@1", "espcn-x2@2"]
    assert labels(published, "espcn", all_versions=True) == labels(published, "espcn@2", "espcn@1") == both
    assert labels(published, "bicubic-x3", "bicubic") == ["bicubic-x2@1", "bicubic-x3@1"]


@pytest.mark.parametrize("model", ["edsr", "espcn@3", "espcn-x3", ""])
def test_an_unknown_model_is_refused(published: CheckpointFolder, benchmarks: Path, model: str) -> None:
    with pytest.raises(LookupError, match=rf"no model '{model}' is published; there are bicubic-x2@1, "):
        evaluate(published, [model], benchmarks)


def test_a_row_has_the_scores_of_the_release_and_the_cost(
    published: CheckpointFolder, benchmarks: Path
) -> None:
    rows = evaluate(published, [], benchmarks)
    assert [row.checkpoint for row in rows] == ["bicubic-x2@1", "espcn-x2@2", "bicubic-x3@1"]
    assert rows[0].scores == published.find("bicubic", 2).manifest.scores, "the same as at release"
    assert rows[1].parameters == published.find("espcn", 2).manifest.parameters
    assert rows[1].multiply_adds == multiply_adds(ESPCN(2), 360, 640)
    assert 0.0 < rows[1].seconds_per_megapixel < 60.0


def test_models_with_scores_on_photo_get_them_again_beside_bicubic(
    published: CheckpointFolder, benchmarks: Path, tmp_path: Path
) -> None:
    (tmp_path / "Set5").symlink_to(benchmarks / "Set5")
    for name in ("bicubic-x2", "bicubic-x3"):
        (tmp_path / name).symlink_to(published.path / name)
    photo_model = publish(tmp_path, version=1)
    upscaler = Upscaler.from_checkpoint(photo_model)
    scores = score_all(upscaler, tmp_path) + score_all(upscaler, tmp_path, "photo")
    manifest = replace(photo_model.manifest, scores=scores)
    (photo_model.folder / MANIFEST_FILE).write_text(manifest.to_json(), "utf-8")

    rows = evaluate(CheckpointFolder(tmp_path), [], tmp_path)
    assert {row.checkpoint: [s.degradation for s in row.scores] for row in rows} == {
        "bicubic-x2@1": ["bicubic", "photo"],
        "espcn-x2@1": ["bicubic", "photo"],
        "bicubic-x3@1": ["bicubic"],
    }
    assert rows[1].scores == scores
    only = evaluate(CheckpointFolder(tmp_path), ["bicubic-x3"], tmp_path, degradation="gaussian")
    assert [s.degradation for s in only[0].scores] == ["gaussian"]


def test_without_the_wheel_everything_else_is_scored(
    benchmarks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.stlpips.WHEEL", "a_wheel_that_nobody_installed")
    st_lpips.cache_clear()
    try:
        (tmp_path / "Set5").symlink_to(benchmarks / "Set5")
        [result] = score_all(Upscaler(Bicubic(2), bicubic_manifest(2)), tmp_path)
    finally:
        st_lpips.cache_clear()
    assert result.st_lpips is None
    assert result.lr_psnr_db is not None
