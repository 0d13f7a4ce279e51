import math

import numpy as np
import pytest

from tests.unit.training.conftest import soft_noise
from training.dataset import DatasetError, Pair
from training.degradation import matlab_bicubic
from training.scores import MAX_PSNR_DB, Reference, luma, psnr_db, ssim, without_border
from training.stlpips import st_lpips


def test_luma_spans_the_studio_swing() -> None:
    black, white = np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)
    assert luma(black)[0, 0] == pytest.approx(16.0)
    assert luma(white)[0, 0] == pytest.approx(235.0)


def test_psnr_of_one_level_everywhere() -> None:
    plane = np.full((8, 8), 100.0)
    assert psnr_db(plane, plane + 1.0) == pytest.approx(20 * math.log10(255))


def test_an_exact_picture_counts_a_hundred_decibels_and_none_more() -> None:
    plane = np.full((8, 8), 100.0)
    assert psnr_db(plane, plane) == psnr_db(plane, plane + 1e-9) == MAX_PSNR_DB == 100.0


def test_ssim_by_its_definition_in_one_window() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.uniform(0, 255, (11, 11)), rng.uniform(0, 255, (11, 11))
    offset = np.arange(11) - 5.0
    weight = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * 1.5**2))
    weight /= weight.sum()
    mean_a, mean_b = (weight * a).sum(), (weight * b).sum()
    variance_a, variance_b = (weight * (a - mean_a) ** 2).sum(), (weight * (b - mean_b) ** 2).sum()
    covariance = (weight * (a - mean_a) * (b - mean_b)).sum()
    c1, c2 = 2.55**2, 7.65**2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    assert ssim(a, b) == pytest.approx(luminance * structure)


def test_ssim_is_one_for_equal_planes_and_falls_with_noise() -> None:
    plane = luma(soft_noise(0, 40, 50))
    noise = np.random.default_rng(1).normal(size=plane.shape)
    assert ssim(plane, plane) == pytest.approx(1.0)
    assert 1.0 > ssim(plane, plane + 5 * noise) > ssim(plane, plane + 20 * noise)


def test_the_border_is_left_out_on_each_side() -> None:
    np.testing.assert_array_equal(without_border(np.arange(25.0).reshape(5, 5), 2), [[12.0]])


def a_pair(height: int = 60, width: int = 48, scale: int = 2) -> Pair:
    hr = soft_noise(3, height, width)
    return Pair("picture.png", matlab_bicubic(hr, scale), hr)


def test_rgb_psnr_and_consistency_by_their_definitions() -> None:
    pair = a_pair()
    sr = pair.hr.copy()
    sr[:2] = 0  # in the border, which PSNR does not see and LR-consistency does
    sr[10:20, 10:20, 2] ^= 8
    measures = Reference(pair, "bicubic", {}).compared(sr)
    inner = np.s_[2:-2, 2:-2]
    error = (pair.hr[inner].astype(float) - sr[inner].astype(float)) ** 2
    assert measures["rgb_psnr_db"] == pytest.approx(10 * math.log10(255**2 / error.mean()))
    error = (matlab_bicubic(sr, 2).astype(float) - pair.lr.astype(float)) ** 2
    assert measures["lr_psnr_db"] == pytest.approx(10 * math.log10(255**2 / error.mean()))
    assert measures["psnr_db"] > measures["rgb_psnr_db"], "luma hardly sees blue"
    assert set(measures) == {"psnr_db", "ssim", "rgb_psnr_db", "lr_psnr_db"}


def test_the_true_picture_has_the_best_of_all_scores() -> None:
    pair, metric = a_pair(), st_lpips()
    assert metric is not None
    measures = Reference(pair, "bicubic", {"st_lpips": metric}).compared(pair.hr)
    assert measures.pop("ssim") == pytest.approx(1.0)
    assert measures == {
        "psnr_db": MAX_PSNR_DB,
        "rgb_psnr_db": MAX_PSNR_DB,
        "lr_psnr_db": MAX_PSNR_DB,
        "st_lpips": 0.0,
    }


def test_consistency_is_measured_only_with_what_bicubic_made() -> None:
    pair = a_pair()
    assert "lr_psnr_db" not in Reference(pair, "photo", {}).compared(pair.hr)


def test_a_tiny_picture_is_refused_by_name() -> None:
    with pytest.raises(DatasetError, match=r"picture\.png is too small to be scored: use pictures of 21 px"):
        Reference(a_pair(20, 48), "bicubic", {})
