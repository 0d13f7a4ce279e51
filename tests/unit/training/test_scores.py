import math

import numpy as np
import pytest

from tests.unit.training.conftest import soft_noise
from training.scores import luma, psnr_db, ssim, without_border


def test_luma_spans_the_studio_swing() -> None:
    black, white = np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)
    assert luma(black)[0, 0] == pytest.approx(16.0)
    assert luma(white)[0, 0] == pytest.approx(235.0)


def test_psnr_of_one_level_everywhere() -> None:
    plane = np.full((8, 8), 100.0)
    assert psnr_db(plane, plane + 1.0) == pytest.approx(20 * math.log10(255))
    assert psnr_db(plane, plane) == math.inf


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
