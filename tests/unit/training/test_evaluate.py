import json
from pathlib import Path

import pytest

from sr_models.bicubic import Bicubic
from sr_models.manifest import CheckpointFolder
from sr_models.upscaler import Upscaler
from training.dataset import DatasetError, read_pairs
from training.evaluate import as_json, as_markdown, evaluate, score, score_all
from training.release import bicubic_manifest, release_bicubic
from training.scores import PROTOCOL


@pytest.fixture(scope="session")
def published(benchmarks: Path, tmp_path_factory: pytest.TempPathFactory) -> CheckpointFolder:
    folder = tmp_path_factory.mktemp("published")
    for scale in (2, 3):
        release_bicubic(scale, benchmarks, folder)
    return CheckpointFolder(folder)


def test_bicubic_enlarges_smooth_pictures_well(benchmarks: Path) -> None:
    upscaler = Upscaler(Bicubic(2), bicubic_manifest(2))
    result = score(upscaler, read_pairs(benchmarks / "Set5", 2), "Set5")
    assert (result.benchmark, result.protocol) == ("Set5", PROTOCOL)
    assert result.psnr_db > 25.0
    assert 0.8 < result.ssim < 1.0


def test_the_sets_that_are_there_are_scored(benchmarks: Path, tmp_path: Path) -> None:
    upscaler = Upscaler(Bicubic(2), bicubic_manifest(2))
    with pytest.raises(DatasetError, match="none of the benchmark sets"):
        score_all(upscaler, tmp_path)
    (tmp_path / "B100").symlink_to(benchmarks / "B100")
    assert [score.benchmark for score in score_all(upscaler, tmp_path)] == ["B100"]


def test_every_scale_has_its_row(published: CheckpointFolder, benchmarks: Path) -> None:
    rows = evaluate(published, [], benchmarks)
    assert [row.checkpoint for row in rows] == ["bicubic-x2@1", "bicubic-x3@1"]
    assert rows[0].scores == published.checkpoints()[0].manifest.scores, "the same as at release"


def test_one_checkpoint_by_name(published: CheckpointFolder, benchmarks: Path) -> None:
    assert [row.scale for row in evaluate(published, ["bicubic-x3"], benchmarks)] == [3]


def test_an_unknown_model_is_refused(published: CheckpointFolder, benchmarks: Path) -> None:
    with pytest.raises(LookupError, match="no model 'edsr' is published; there are bicubic-x2, bicubic-x3"):
        evaluate(published, ["edsr"], benchmarks)


def test_the_table_and_the_json_say_the_same(published: CheckpointFolder, benchmarks: Path) -> None:
    rows = evaluate(published, ["bicubic-x2"], benchmarks)
    heading, _, line = as_markdown(rows).splitlines()
    assert heading == "| checkpoint | scale | Set5 | Set14 | B100 |"
    [fields] = json.loads(as_json(rows))
    assert line.startswith(f"| bicubic-x2@1 | x2 | {fields['scores'][0]['psnr_db']:.2f} / ")
