import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import worker.transparency
from sr_models.samples import StoredSamples
from worker.transparency import fill_hidden_colours, limit_to_neighbours


def noise(height: int, width: int, seed: int = 0) -> StoredSamples:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    seed=st.integers(0, 99),
    share=st.floats(0, 1, allow_subnormal=False),
)
def test_what_is_seen_stays_and_what_is_not_comes_from_it(
    height: int, width: int, seed: int, share: float
) -> None:
    given_colour = noise(height, width, seed)
    alpha = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8) * 200
    colour = given_colour.copy()
    fill_hidden_colours(colour, alpha)
    seen = alpha > 0
    assert np.array_equal(colour[seen], given_colour[seen])
    if seen.any():
        assert (colour.min(axis=(0, 1)) >= given_colour[seen].min(axis=0)).all()
        assert (colour.max(axis=(0, 1)) <= given_colour[seen].max(axis=0)).all()
    else:
        assert np.array_equal(colour, given_colour)


def test_what_lies_far_away_comes_from_far_away() -> None:
    colour = np.zeros((64, 64, 3), np.uint16)
    colour[:8, :8] = (60_000, 100, 30_000)
    alpha = np.zeros((64, 64), np.uint16)
    alpha[:8, :8] = 65_535
    fill_hidden_colours(colour, alpha)
    assert (colour == (60_000, 100, 30_000)).all()


@pytest.mark.parametrize("height", [1, 7, 8, 50])
def test_strips_change_nothing(height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    alpha = (np.random.default_rng(1).random((height, 33)) < 0.2).astype(np.uint8)
    whole, by_strips = noise(height, 33), noise(height, 33)
    fill_hidden_colours(whole, alpha)
    monkeypatch.setattr(worker.transparency, "STRIP_ROWS", 4)
    fill_hidden_colours(by_strips, alpha)
    assert np.array_equal(whole, by_strips)


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    scale=st.sampled_from([2, 3, 4]),
    seed=st.integers(0, 99),
)
def test_opacity_stays_within_its_neighbours(height: int, width: int, scale: int, seed: int) -> None:
    alpha, given_larger = noise(height, width, seed), noise(height * scale, width * scale, seed + 1)
    alpha[...], given_larger[...] = alpha[..., :1], given_larger[..., :1]
    larger = given_larger.copy()
    limit_to_neighbours(larger, alpha)
    for y in range(height * scale):
        for x in range(width * scale):
            middle = [(at + 0.5) / scale - 0.5 for at in (y, x)]
            rows, columns = (slice(max(0, math.floor(m)), math.ceil(m) + 1) for m in middle)
            near = alpha[rows, columns]
            assert (larger[y, x] == given_larger[y, x].clip(near.min(), near.max())).all()
