import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.unit.training.conftest import soft_noise
from training.dataset import UInt8Array, read_rgb
from training.degradation import DEGRADATIONS, gaussian, matlab_bicubic, shrink_matrix

MATLAB_PAIRS = os.environ.get("ENLARGER_MATLAB_REF")

GOLDEN = Path(__file__).parents[2] / "golden" / "matlab_bicubic.json"


def golden_picture() -> UInt8Array:
    y, x, c = np.mgrid[0:24, 0:36, 0:3]
    picture: UInt8Array = ((x * x * (c + 1) + 7 * y * (c + 2) + x * y) % 256).astype(np.uint8)
    return picture


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_golden_values_that_matlab_makes(scale: int) -> None:
    expected = np.array(json.loads(GOLDEN.read_text("utf-8"))["lr"][str(scale)], np.uint8)
    np.testing.assert_array_equal(matlab_bicubic(golden_picture(), scale), expected)


@given(size=st.integers(1, 40), scale=st.sampled_from([2, 3, 4]), level=st.integers(0, 255))
def test_a_flat_picture_stays_flat(size: int, scale: int, level: int) -> None:
    picture = np.full((size * scale, 2 * scale, 3), level, np.uint8)
    assert (matlab_bicubic(picture, scale) == level).all()


@given(size=st.integers(1, 40), scale=st.sampled_from([2, 3, 4]))
def test_it_is_the_same_from_both_ends(size: int, scale: int) -> None:
    matrix = shrink_matrix(size * scale, scale)
    np.testing.assert_allclose(matrix, matrix[::-1, ::-1], atol=1e-12)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-12)


def test_a_picture_that_is_no_multiple_is_refused() -> None:
    with pytest.raises(ValueError, match="9x8 is not a multiple of 2; crop"):
        matlab_bicubic(np.zeros((8, 9, 3), np.uint8), 2)


@pytest.mark.benchmarks
@pytest.mark.skipif(
    not MATLAB_PAIRS, reason="ENLARGER_MATLAB_REF names no folder with pairs that MATLAB made"
)
def test_the_pairs_that_matlab_made() -> None:
    lr_paths = sorted(Path(MATLAB_PAIRS or "").glob("*_lr_x4_matlab.png"))
    assert lr_paths
    for path in lr_paths:
        hr = read_rgb(path.with_name(path.name.replace("_lr_x4_matlab", "_hr")))
        np.testing.assert_array_equal(matlab_bicubic(hr, 4), read_rgb(path), err_msg=path.name)


def test_gaussian_is_a_blur_and_then_one_sample_of_each_block() -> None:
    """At x3 the sample is the middle pixel of its block, so that the textbook's sum can be written out."""
    hr = soft_noise(3, 33, 36)
    offset = np.arange(-6, 7)
    weights = np.exp(-(offset**2) / (2 * 1.2**2))
    kernel = np.outer(weights, weights)[..., None] / weights.sum() ** 2
    row, column = 3 * 5 + 1, 3 * 4 + 1
    blurred = (hr[row - 6 : row + 7, column - 6 : column + 7] * kernel).sum(axis=(0, 1))
    np.testing.assert_allclose(gaussian(hr, 3)[5, 4], blurred, atol=0.51)


def grey_waves(scale: int) -> UInt8Array:
    """Soft at the LR's scale, so that every way of making it small shows the same: uint8 (24·scale, 32·scale, 3)."""
    small = Image.fromarray(soft_noise(1, 24, 32)).convert("L").convert("RGB")
    return np.asarray(small.resize((32 * scale, 24 * scale), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("name", DEGRADATIONS)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_every_way_gives_lr_on_the_grid_of_bicubic(name: str, scale: int) -> None:
    """A picture that is turned by half, degraded and turned back shows a shift twice, whatever else was drawn."""
    hr = grey_waves(scale)
    slopes = np.gradient(matlab_bicubic(hr, scale).astype(float), axis=(0, 1))
    shifts_px = []
    for seed in range(40):
        lr = DEGRADATIONS[name](hr, scale, np.random.default_rng(seed))
        assert lr.shape == (24, 32, 3)
        assert lr.dtype == np.uint8
        turned = DEGRADATIONS[name](np.ascontiguousarray(hr[::-1, ::-1]), scale, np.random.default_rng(seed))
        difference = lr.astype(float) - turned[::-1, ::-1]
        columns = np.stack([slope.ravel() for slope in slopes], axis=1)
        shifts_px.append(np.linalg.lstsq(columns, difference.ravel(), rcond=None)[0] / 2)
    assert np.abs(shifts_px).max() < 0.05
    assert np.abs(np.mean(shifts_px, axis=0)).max() < 0.005


def test_the_same_generator_makes_the_same_photo_and_another_one_another() -> None:
    hr = soft_noise(2, 64, 64)
    first, again, other = (DEGRADATIONS["photo"](hr, 4, np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_photo_is_visibly_but_not_ruinously_worse_than_bicubic() -> None:
    hr = grey_waves(4)
    reference = matlab_bicubic(hr, 4).astype(float)
    errors = [
        np.sqrt(np.mean((DEGRADATIONS["photo"](hr, 4, np.random.default_rng(seed)) - reference) ** 2))
        for seed in range(100)
    ]
    assert 1.5 < np.median(errors) < 6.0
    assert min(errors) > 0.5
    assert max(errors) < 20.0


def test_photo_keeps_the_mean_colour() -> None:
    """Over many colours and draws: a bias of a level would be learnt as a change of colour.

    JPEG itself moves flat colours by up to .2 levels in the mean (quality 75).
    """
    generator = np.random.default_rng(0)
    drifts = []
    for _ in range(200):
        colour = generator.integers(40, 216, 3).astype(np.uint8)
        lr = DEGRADATIONS["photo"](np.tile(colour, (32, 32, 1)), 2, generator)
        drifts.append(lr.mean(axis=(0, 1)) - colour)
    np.testing.assert_allclose(np.mean(drifts, axis=0), 0.0, atol=0.6)


@pytest.mark.parametrize("name", ["bicubic", "gaussian"])
def test_lr_depends_on_no_more_than_its_reach(name: str) -> None:
    hr = soft_noise(6, 80, 80)
    degradation = DEGRADATIONS[name]
    reach = degradation.reach_px
    whole = degradation(hr, 4, np.random.default_rng(0))
    part = degradation(hr[16:64, 16:64], 4, np.random.default_rng(0))
    np.testing.assert_array_equal(
        part[reach:-reach, reach:-reach], whole[4 + reach : 16 - reach, 4 + reach : 16 - reach]
    )
