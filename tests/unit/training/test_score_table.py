import json
from dataclasses import replace

from sr_models.manifest import Score
from training.score_table import Row, as_json, as_markdown

SET5 = Score("Set5", 30.456, 0.86574, "p", rgb_psnr_db=28.1, lr_psnr_db=41.234, st_lpips=0.1234)
PHOTO = Score("B100", 24.0, 0.6, "p", degradation="photo", rgb_psnr_db=23.0, st_lpips=0.3)
ROW = Row("espcn-x4@1", 4, (SET5, PHOTO), 24_752, 1_419_264_000, 0.25)


def test_two_tables_for_each_degradation() -> None:
    lines = as_markdown([ROW, replace(ROW, checkpoint="other-x4@1", scores=(SET5,))]).splitlines()
    assert [line for line in lines if "espcn" in line] == [
        "| espcn-x4@1 | x4 | 30.46 / 0.8657 | not scored | not scored |",
        "| espcn-x4@1 | x4 | 28.10 / 41.23 / 0.123 | not scored | not scored | 24,752 | 1.42 G | 0.25 |",
        "| espcn-x4@1 | x4 | not scored | not scored | 24.00 / 0.6000 |",
        "| espcn-x4@1 | x4 | not scored | not scored | 23.00 / - / 0.300 | 24,752 | 1.42 G | 0.25 |",
    ]
    assert sum("other" in line for line in lines) == 2, "it was not scored on photo"
    assert lines[0] == "Luma PSNR in dB / SSIM, LR by MATLAB bicubic:"
    assert lines[2:4] == ["| checkpoint | scale | Set5 | Set14 | B100 |", "|---|---|---|---|---|"]


def test_lpips_stands_there_only_if_it_was_measured() -> None:
    assert " / LPIPS" not in as_markdown([ROW])
    table = as_markdown([replace(ROW, scores=(replace(SET5, lpips=0.2),), multiply_adds=114_000_000_000)])
    assert "RGB PSNR in dB / LR-PSNR in dB / ST-LPIPS / LPIPS" in table
    assert "28.10 / 41.23 / 0.123 / 0.200" in table
    assert "| 114 G |" in table


def test_the_json_says_everything() -> None:
    [fields] = json.loads(as_json([ROW]))
    assert Score(**fields["scores"][1]) == PHOTO
    assert fields["seconds_per_megapixel"] == 0.25
