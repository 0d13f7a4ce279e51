import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.dataset import UInt8Array
from training.degradation import matlab_bicubic, shrink_matrix

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
