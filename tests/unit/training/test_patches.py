import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.training.conftest import soft_noise
from training.degradation import matlab_bicubic
from training.patches import PatchSampler
from training.photograph import DatasetError, Pair


def pair(hr_height: int = 96, hr_width: int = 80, scale: int = 2) -> Pair:
    hr = soft_noise(0, hr_height, hr_width)
    return Pair("soft noise", matlab_bicubic(hr, scale), hr)


def test_photographs_smaller_than_a_patch_are_refused() -> None:
    with pytest.raises(
        DatasetError,
        match="no photograph is large enough for an LR patch of 64 px: the largest, soft noise, has 80x96 px, "
        "and 144 px are needed",
    ):
        PatchSampler([pair(24, 24), pair()], patch_px=64, detail_draws=1)


def test_photographs_too_small_for_a_patch_are_counted() -> None:
    assert PatchSampler([pair(), pair(24, 24)], patch_px=16, detail_draws=1).skipped == 1


@given(scale=st.sampled_from([2, 3, 4]), seed=st.integers(0, 2**32))
def test_every_patch_is_its_own_lr_and_hr(scale: int, seed: int) -> None:
    """HR numbers its pixels, LR the blocks that they belong to: turned and flipped, the two must still agree."""
    rows, columns = np.mgrid[0:25, 0:30]
    lr = np.stack([rows, columns, np.zeros_like(rows)], axis=-1).astype(np.uint8)
    hr = lr.repeat(scale, axis=0).repeat(scale, axis=1)
    batch = PatchSampler([Pair("numbered", lr, hr)], 6, 3).batch(5, np.random.default_rng(seed))
    assert batch.lr.shape == (5, 6, 6, 3)
    np.testing.assert_array_equal(batch.lr.repeat(scale, axis=1).repeat(scale, axis=2), batch.hr)


@pytest.mark.parametrize("degradation", ["bicubic", "photo"])
def test_the_same_generator_draws_the_same_patches(degradation: str) -> None:
    sampler = PatchSampler([pair()], 8, 4, degradation)
    first, second, third = (sampler.batch(4, np.random.default_rng((7, step))) for step in (3, 3, 4))
    np.testing.assert_array_equal(first.hr, second.hr)
    np.testing.assert_array_equal(first.lr, second.lr)
    assert (first.lr != third.lr).any()


@pytest.mark.parametrize("degradation", ["bicubic", "photo"])
def test_shares_are_the_whole_batch(degradation: str) -> None:
    sampler = PatchSampler([pair()], 8, 4, degradation)
    whole = sampler.batch(5, np.random.default_rng(1))
    for rank in range(2):
        share = sampler.batch(5, np.random.default_rng(1), slice(rank, None, 2))
        np.testing.assert_array_equal(share.lr, whole.lr[rank::2])
        np.testing.assert_array_equal(share.hr, whole.hr[rank::2])


def test_detail_is_preferred() -> None:
    hr = np.full((128, 128, 3), 90, np.uint8)
    hr[:, 64:] = soft_noise(5, 128, 64)
    half_flat = Pair("half flat", matlab_bicubic(hr, 2), hr)

    def mean_deviation(draws: int) -> float:
        batch = PatchSampler([half_flat], 8, draws).batch(200, np.random.default_rng(0))
        return float(batch.hr.std(axis=(1, 2)).mean())

    assert mean_deviation(4) > 1.3 * mean_deviation(1)


def test_photo_degrades_each_patch_anew_and_in_its_place() -> None:
    """On a soft slope, LR that was cut one pixel beside its place would be 3.6 levels brighter or darker throughout."""
    rows, columns = np.mgrid[0:160, 0:120]
    hr = np.repeat((0.9 * (rows + columns) + 2)[..., None], 3, axis=2).astype(np.uint8)
    sampler = PatchSampler([Pair("slope", matlab_bicubic(hr, 4), hr)], 16, 2, "photo")
    batch = sampler.batch(40, np.random.default_rng(0))
    assert batch.lr.shape == (40, 16, 16, 3)
    exact = np.stack([matlab_bicubic(patch, 4) for patch in batch.hr]).astype(float)
    errors = (batch.lr - exact)[:, 2:-2, 2:-2]
    assert np.abs(errors.mean(axis=(1, 2, 3))).max() < 1.5
    assert len(set(np.abs(errors).mean(axis=(1, 2, 3)))) > 30
