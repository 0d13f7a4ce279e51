"""How a low-resolution picture is made from a high-resolution one.

The benchmarks are defined on MATLAB's ``imresize(…, 'bicubic')``: Keys' cubic (R. Keys,
"Cubic convolution interpolation for digital image processing", 1981, a = -0.5) widened by the
scale so that it also filters (antialiasing), mirrored borders. Pillow's bicubic differs
from it by up to 14 levels, so scores made with one are not comparable with the other.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from sr_models.bicubic import keys_cubic

UInt8Array = npt.NDArray[np.uint8]
Float64Array = npt.NDArray[np.float64]


@lru_cache(maxsize=256)
def shrink_matrix(size_px: int, scale: int) -> Float64Array:
    """The (size/scale, size) matrix that shrinks one dimension as MATLAB's imresize does."""
    out_px = -(-size_px // scale)
    centre = (np.arange(out_px) + 0.5) * scale - 0.5
    first = np.floor(centre - 2.0 * scale).astype(np.int64)
    taps = first[:, None] + np.arange(4 * scale + 2)
    weights = keys_cubic(torch.from_numpy((centre[:, None] - taps) / scale)).numpy() / scale
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = np.mod(taps, 2 * size_px)
    mirrored = np.where(mirrored < size_px, mirrored, 2 * size_px - 1 - mirrored)
    matrix = np.zeros((out_px, size_px))
    np.add.at(matrix, (np.arange(out_px)[:, None], mirrored), weights)
    return matrix


def matlab_bicubic(hr_HWC: UInt8Array, scale: int) -> UInt8Array:
    """MATLAB's antialiased bicubic reduction, rounded to 8 bits: (H, W, C) to (H/scale, W/scale, C).

    Raises ValueError unless both sides are multiples of the scale: crop first.
    """
    height, width, channels = hr_HWC.shape
    if height % scale or width % scale:
        raise ValueError(f"{width}x{height} is not a multiple of {scale}; crop the picture first")
    rows = shrink_matrix(height, scale)
    columns = shrink_matrix(width, scale)
    planes = [rows @ hr_HWC[:, :, c].astype(np.float64) @ columns.T for c in range(channels)]
    # MATLAB rounds halves away from zero; NumPy's rint would round them to even.
    samples = np.floor(np.stack(planes, axis=-1) + 0.5)
    return samples.clip(0.0, 255.0).astype(np.uint8)
