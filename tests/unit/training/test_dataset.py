from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.unit.training.conftest import soft_noise
from training.dataset import DatasetError, Pair, PatchSampler, described, picture_paths, read_pairs, read_rgb
from training.degradation import matlab_bicubic


def pair(hr_height: int = 96, hr_width: int = 80, scale: int = 2) -> Pair:
    hr = soft_noise(0, hr_height, hr_width)
    return Pair("soft noise", matlab_bicubic(hr, scale), hr)


def test_photographs_are_read_in_order_with_their_lr(photographs: Path) -> None:
    pairs = read_pairs(photographs, 3)
    assert [p.name for p in pairs] == ["0.png", "1.png", "2.png"]
    assert pairs[0].hr.shape == (96, 81, 3)
    assert pairs[0].lr.shape == (32, 27, 3)
    assert pairs[0].hr.dtype == pairs[0].lr.dtype == np.uint8


def test_a_grey_picture_is_read_as_rgb(tmp_path: Path) -> None:
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "grey.png")
    rgb = read_rgb(tmp_path / "grey.png")
    assert rgb.shape == (8, 8, 3)
    assert (rgb == rgb[:, :, :1]).all()


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(DatasetError, match=r"holds no pictures \(\.bmp, "):
        picture_paths(tmp_path)


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 cut off")
    with pytest.raises(DatasetError, match=r"broken\.jpg cannot be read as a picture"):
        read_pairs(tmp_path, 2)


def test_a_picture_smaller_than_the_scale_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (9, 2)).save(tmp_path / "flat.png")
    with pytest.raises(DatasetError, match="too small for scale 3"):
        read_pairs(tmp_path, 3)


def test_photographs_smaller_than_a_patch_are_refused() -> None:
    with pytest.raises(DatasetError, match="no photograph is large enough for an LR patch of 64 px"):
        PatchSampler([pair()], patch_px=64, detail_draws=1)


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


def test_the_same_generator_draws_the_same_patches() -> None:
    sampler = PatchSampler([pair()], 8, 4)
    first, second = (sampler.batch(4, np.random.default_rng((7, 3))) for _ in range(2))
    np.testing.assert_array_equal(first.hr, second.hr)


def test_detail_is_preferred() -> None:
    hr = np.full((128, 128, 3), 90, np.uint8)
    hr[:, 64:] = soft_noise(5, 128, 64)
    half_flat = Pair("half flat", matlab_bicubic(hr, 2), hr)

    def mean_deviation(draws: int) -> float:
        batch = PatchSampler([half_flat], 8, draws).batch(200, np.random.default_rng(0))
        return float(batch.hr.std(axis=(1, 2)).mean())

    assert mean_deviation(4) > 1.3 * mean_deviation(1)


def test_the_description_changes_with_the_samples(photographs: Path) -> None:
    pairs = read_pairs(photographs, 2)
    whole = described(photographs, pairs)
    assert (whole["photographs"], whole["megapixels"]) == (3, 0.0)
    altered = pairs[0].hr.copy()
    altered[0, 0, 0] ^= 1
    changed = described(photographs, [Pair(pairs[0].name, pairs[0].lr, altered), *pairs[1:]])
    assert changed["sha256"] != whole["sha256"]
