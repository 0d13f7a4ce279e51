from dataclasses import replace
from pathlib import Path

from sr_models.manifest import Checkpoint, Score
from tests.tiny_checkpoints import publish
from training.reproduction import compare
from training.score_table import Row

SET5 = Score("Set5", 30.0, 0.9, "p", rgb_psnr_db=28.0, lr_psnr_db=41.0, st_lpips=0.12)
PHOTO = Score("Set5", 24.0, 0.6, "p", degradation="photo")


def released(folder: Path, *scores: Score) -> Checkpoint:
    checkpoint = publish(folder)
    return Checkpoint(replace(checkpoint.manifest, scores=scores), checkpoint.folder)


def row(*scores: Score) -> Row:
    return Row("espcn-x2@1", 2, scores, 1, 1, 1.0)


def test_what_another_processor_rounds_differently_is_reproduced(tmp_path: Path) -> None:
    near = replace(SET5, psnr_db=30.009, ssim=0.8992, rgb_psnr_db=27.992, lr_psnr_db=41.04, st_lpips=0.1215)
    found = compare([row(near, PHOTO)], [released(tmp_path, SET5, PHOTO)])
    assert found.complete
    assert str(found) == "7 of 7 published numbers were reproduced."


def test_each_number_that_is_off_is_named(tmp_path: Path) -> None:
    off = replace(SET5, psnr_db=29.98, ssim=0.8985, lr_psnr_db=40.9, st_lpips=None)
    found = compare([row(off)], [released(tmp_path, SET5)])
    assert not found.complete
    assert str(found).splitlines() == [
        "1 of 5 published numbers were reproduced.",
        "espcn-x2@1 Set5 (bicubic): psnr_db 30.0 published, 29.98 measured",
        "espcn-x2@1 Set5 (bicubic): ssim 0.9 published, 0.8985 measured",
        "espcn-x2@1 Set5 (bicubic): lr_psnr_db 41.0 published, 40.9 measured",
        "espcn-x2@1 Set5 (bicubic): st_lpips 0.12 published, None measured",
    ]


def test_a_degradation_is_compared_with_itself_only(tmp_path: Path) -> None:
    found = compare([row(replace(PHOTO, psnr_db=23.0))], [released(tmp_path, SET5, PHOTO)])
    assert (found.compared, len(found.differences), found.left_out) == (2, 1, 1)
    assert "1 more scores are published" in str(found)


def test_what_no_manifest_states_yet_does_not_count(tmp_path: Path) -> None:
    older = replace(SET5, rgb_psnr_db=None, lr_psnr_db=None, st_lpips=None)
    assert compare([row(SET5)], [released(tmp_path, older)]).compared == 2


def test_nothing_compared_is_nothing_reproduced(tmp_path: Path) -> None:
    assert not compare([row(SET5)], [released(tmp_path)]).complete
