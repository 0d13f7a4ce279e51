"""Scores by the protocol that the field's tables use.

HR cropped to a multiple of the scale, LR by MATLAB's bicubic rounded to 8 bits, SR rounded to
8 bits, luma by BT.601, a border of `scale` pixels left out, PSNR over 255, SSIM with an 11x11
Gaussian window of sigma 1.5 (Z. Wang et al., "Image quality assessment: from error
visibility to structural similarity", 2004). RGB PSNR is taken from the same part, over the three colours.
Perceptual distances and the consistency with LR are taken over the whole picture. Every PSNR is at most 100 dB.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from sr_models.manifest import DegradationName
from training.dataset import DatasetError, Pair
from training.degradation import matlab_bicubic
from training.stlpips import MIN_SIDE_PX, PerceptualDistance

UInt8Array = npt.NDArray[np.uint8]
Float64Array = npt.NDArray[np.float64]

LR_BY: Mapping[DegradationName, str] = {
    "bicubic": "MATLAB bicubic",
    "gaussian": "Gaussian blur and subsampling",
    "photo": "blur, noise, resizing and JPEG, seeded",
}
"""How LR is made, in words."""

PROTOCOLS: Mapping[DegradationName, str] = {
    degradation: f"luma (BT.601), border crop = scale, LR by {how}, SR rounded to 8 bits"
    for degradation, how in LR_BY.items()
}
"""What a manifest says of its scores."""

MAX_PSNR_DB = 100.0
"""What a picture counts that is reproduced exactly, as is usual: infinity would be the mean over its whole set, and JSON has none."""

_LUMA_FROM_RGB = np.array([65.481, 128.553, 24.966]) / 255.0


def luma(rgb_HWC: UInt8Array) -> Float64Array:
    """BT.601 luma in 16..235, not rounded: uint8 (H, W, 3) to float64 (H, W).

    >>> luma(np.full((1, 1, 3), 255, np.uint8)).round(6).tolist()
    [[235.0]]
    """
    y: Float64Array = rgb_HWC @ _LUMA_FROM_RGB + 16.0
    return y


def psnr_db(a: Float64Array, b: Float64Array) -> float:
    """Peak signal-to-noise ratio in dB over a peak of 255, of planes or pictures; at most MAX_PSNR_DB, which equal ones have."""
    mean_squared_error = float(np.mean((a - b) ** 2))
    if mean_squared_error == 0.0:
        return MAX_PSNR_DB
    return min(MAX_PSNR_DB, float(10.0 * np.log10(255.0**2 / mean_squared_error)))


def _gaussian_window() -> Float64Array:
    offset = np.arange(11) - 5.0
    window = np.exp(-(offset**2) / (2.0 * 1.5**2))
    normalised: Float64Array = window / window.sum()
    return normalised


def _blurred(x_HW: Float64Array) -> Float64Array:
    window = _gaussian_window()
    rows = np.lib.stride_tricks.sliding_window_view(x_HW, 11, axis=0) @ window
    blurred: Float64Array = np.lib.stride_tricks.sliding_window_view(rows, 11, axis=1) @ window
    return blurred


def ssim(a_HW: Float64Array, b_HW: Float64Array) -> float:
    """Structural similarity of two luma planes in 0..255, over the windows that lie inside."""
    c1, c2 = (0.01 * 255.0) ** 2, (0.03 * 255.0) ** 2
    mean_a, mean_b = _blurred(a_HW), _blurred(b_HW)
    variance_a = _blurred(a_HW * a_HW) - mean_a**2
    variance_b = _blurred(b_HW * b_HW) - mean_b**2
    covariance = _blurred(a_HW * b_HW) - mean_a * mean_b
    likeness = (2.0 * mean_a * mean_b + c1) * (2.0 * covariance + c2)
    energy = (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    return float(np.mean(likeness / energy))


def without_border(picture: Float64Array, border_px: int) -> Float64Array:
    """The plane (H, W) or the picture (H, W, C) without `border_px` on each side."""
    return picture[border_px:-border_px, border_px:-border_px]


def refuse_too_small(pair: Pair) -> None:
    """Raises DatasetError for a picture that the protocol cannot score."""
    if min(pair.hr.shape[:2]) < MIN_SIDE_PX:
        raise DatasetError(
            f"{pair.name} is too small to be scored: use pictures of {MIN_SIDE_PX} px and more"
        )


class Reference:
    """A benchmark picture that results are compared with: what does not depend on a network is computed once."""

    def __init__(
        self, pair: Pair, degradation: DegradationName, distances: Mapping[str, PerceptualDistance]
    ) -> None:
        """`distances`: perceptual ones by the name of their field in Score. Raises DatasetError for a tiny picture."""
        refuse_too_small(pair)
        self._scale = pair.hr.shape[0] // pair.lr.shape[0]
        # A reduction by bicubic is comparable with an LR that bicubic made, and with no other.
        self._lr = pair.lr.astype(np.float64) if degradation == "bicubic" else None
        self._rgb = without_border(pair.hr.astype(np.float64), self._scale)
        self._luma = without_border(luma(pair.hr), self._scale)
        self._activations = {name: (d, d.activations(pair.hr)) for name, d in distances.items()}

    def compared(self, sr_HWC: UInt8Array) -> dict[str, float]:
        """All measures of one result, uint8 RGB of HR's shape, by the names of the fields in Score."""
        sr_luma = without_border(luma(sr_HWC), self._scale)
        measures = {
            "psnr_db": psnr_db(sr_luma, self._luma),
            "ssim": ssim(sr_luma, self._luma),
            "rgb_psnr_db": psnr_db(without_border(sr_HWC.astype(np.float64), self._scale), self._rgb),
        }
        if self._lr is not None:
            reduced = matlab_bicubic(sr_HWC, self._scale).astype(np.float64)
            measures["lr_psnr_db"] = psnr_db(reduced, self._lr)
        for name, (distance, hr_activations) in self._activations.items():
            measures[name] = distance.between(distance.activations(sr_HWC), hr_activations)
        return measures
