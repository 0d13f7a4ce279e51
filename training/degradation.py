"""How a low-resolution picture is made from a high-resolution one.

The benchmarks are defined on MATLAB's ``imresize(…, 'bicubic')``: Keys' cubic (R. Keys,
"Cubic convolution interpolation for digital image processing", 1981, a = -0.5) widened by the
scale so that it also filters (antialiasing), mirrored borders. Pillow's bicubic differs
from it by up to 14 levels, so scores made with one are not comparable with the other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from sr_models.bicubic import keys_cubic
from training.photo_degradation import photo

UInt8Array = npt.NDArray[np.uint8]
Float64Array = npt.NDArray[np.float64]

GAUSSIAN_SIGMA_LR_PX = 0.4
"""0.8, 1.2 and 1.6 HR pixels at x2, x3 and x4.

The ESPCN paper names no width; these are the field's (Y. Jo et al., "Deep Video Super-Resolution Network Using Dynamic
Upsampling Filters", 2018, in their code; the x4 one is the `BD` degradation of the Vid4 benchmark).
"""

_REACH_LR_PX = 2
"""Both kernels end here: the cubic by definition, the Gaussian at five deviations."""


@dataclass(frozen=True)
class Degradation:
    """A way to make LR from HR: called with uint8 RGB (H, W, 3), the scale and a generator, it gives uint8 (H/scale, W/scale, 3).

    LR pixel i lies over the middle of HR pixels scale·i … scale·i + scale-1, whatever the way. Both sides of HR are
    multiples of the scale.
    """

    make: Callable[[UInt8Array, int, np.random.Generator], UInt8Array]
    random: bool
    """Whether it draws from the generator, so that every sample is degraded differently."""
    reach_px: int
    """LR pixels around one that it depends on, but for traces."""

    def __call__(self, hr_HWC: UInt8Array, scale: int, generator: np.random.Generator) -> UInt8Array:
        """LR for HR."""
        return self.make(hr_HWC, scale, generator)


def matlab_bicubic(hr_HWC: UInt8Array, scale: int) -> UInt8Array:
    """MATLAB's antialiased bicubic reduction, rounded to 8 bits: (H, W, C) to (H/scale, W/scale, C).

    Raises ValueError unless both sides are multiples of the scale: crop first.
    """
    return _shrunk(hr_HWC, scale, _cubic)


def gaussian(hr_HWC: UInt8Array, scale: int) -> UInt8Array:
    """Gaussian blur, then one sample for each block of scale x scale pixels: (H, W, C) to (H/scale, W/scale, C), 8 bits.

    As W. Shi et al. make LR in the ESPCN paper (2016), but for where the sample lies: in the middle of its block, not at
    its corner, so that the picture does not shift.
    Raises ValueError unless both sides are multiples of the scale: crop first.
    """
    return _shrunk(hr_HWC, scale, _bell)


DEGRADATIONS: Mapping[str, Degradation] = {
    "bicubic": Degradation(lambda hr, scale, _: matlab_bicubic(hr, scale), random=False, reach_px=2),
    "gaussian": Degradation(lambda hr, scale, _: gaussian(hr, scale), random=False, reach_px=2),
    "photo": Degradation(photo, random=True, reach_px=6),
}


def _cubic(distance_lr_px: Float64Array) -> Float64Array:
    weights: Float64Array = keys_cubic(torch.from_numpy(distance_lr_px)).numpy()
    return weights


def _bell(distance_lr_px: Float64Array) -> Float64Array:
    weights: Float64Array = np.exp(-0.5 * (distance_lr_px / GAUSSIAN_SIGMA_LR_PX) ** 2)
    return weights


@lru_cache(maxsize=256)
def shrink_matrix(
    size_px: int, scale: int, kernel: Callable[[Float64Array], Float64Array] = _cubic
) -> Float64Array:
    """The (size/scale, size) matrix that shrinks one dimension as MATLAB's imresize does.

    `kernel`: the weight at a distance in LR pixels.
    """
    out_px = -(-size_px // scale)
    centre = (np.arange(out_px) + 0.5) * scale - 0.5
    first = np.floor(centre - _REACH_LR_PX * scale).astype(np.int64)
    taps = first[:, None] + np.arange(2 * _REACH_LR_PX * scale + 2)
    weights = kernel((centre[:, None] - taps) / scale) / scale
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = np.mod(taps, 2 * size_px)
    mirrored = np.where(mirrored < size_px, mirrored, 2 * size_px - 1 - mirrored)
    matrix = np.zeros((out_px, size_px))
    np.add.at(matrix, (np.arange(out_px)[:, None], mirrored), weights)
    return matrix


def _shrunk(hr_HWC: UInt8Array, scale: int, kernel: Callable[[Float64Array], Float64Array]) -> UInt8Array:
    height, width, channels = hr_HWC.shape
    if height % scale or width % scale:
        raise ValueError(f"{width}x{height} is not a multiple of {scale}; crop the picture first")
    rows = shrink_matrix(height, scale, kernel)
    columns = shrink_matrix(width, scale, kernel)
    planes = [rows @ hr_HWC[:, :, c].astype(np.float64) @ columns.T for c in range(channels)]
    # MATLAB rounds halves away from zero; NumPy's rint would round them to even.
    samples = np.floor(np.stack(planes, axis=-1) + 0.5)
    return samples.clip(0.0, 255.0).astype(np.uint8)
