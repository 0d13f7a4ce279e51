from pathlib import Path

import numpy as np
from PIL import Image

from sr_models.bicubic import Bicubic
from sr_models.upscaler import Upscaler
from tests.unit.training.conftest import soft_noise
from training.dataset import Pair
from training.degradation import matlab_bicubic
from training.release import bicubic_manifest
from training.run_pictures import CROP_PX, draw_crops, draw_curve


def test_crops_of_lr_bicubic_network_and_hr_stand_beside_each_other(tmp_path: Path) -> None:
    hr = soft_noise(0, 140, 160)
    pair = Pair("soft noise", matlab_bicubic(hr, 2), hr)
    draw_crops(Upscaler(Bicubic(2), bicubic_manifest(2)), [pair, pair], tmp_path / "crops.png")
    with Image.open(tmp_path / "crops.png") as picture:
        grid = np.asarray(picture.convert("RGB"))
    side = 2 * CROP_PX
    assert grid.shape == (14 + 2 * (side + 4), 4 * (side + 4), 3)
    columns = [grid[14 : 14 + side, c * (side + 4) : c * (side + 4) + side] for c in range(4)]
    assert np.abs(columns[1].astype(int) - columns[2]).max() <= 1  # the network here is bicubic
    assert not np.array_equal(columns[0], columns[1])
    places = [(y, x) for y in range(0, 61, 20) for x in range(0, 81, 20)]
    assert any(np.array_equal(columns[3], hr[2 * y : 2 * y + side, 2 * x : 2 * x + side]) for y, x in places)


def test_a_picture_smaller_than_a_crop_is_drawn_whole(tmp_path: Path) -> None:
    hr = soft_noise(0, 30, 34)
    pair = Pair("small", matlab_bicubic(hr, 2), hr)
    draw_crops(Upscaler(Bicubic(2), bicubic_manifest(2)), [pair], tmp_path / "crops.png")
    with Image.open(tmp_path / "crops.png") as picture:
        assert picture.size == (4 * (34 + 4), 14 + 30 + 4)


def test_a_curve_with_and_without_psnr(tmp_path: Path) -> None:
    curve = [{"step": float(s), "loss": 1.0 / s} for s in range(1, 5)]
    draw_curve(curve, "a run", tmp_path / "loss.png")
    draw_curve([p | {"psnr_db": 30.0 + p["step"]} for p in curve], "a run", tmp_path / "both.png")
    for name in ("loss.png", "both.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.size == (800, 450)
    assert (tmp_path / "loss.png").read_bytes() != (tmp_path / "both.png").read_bytes()
