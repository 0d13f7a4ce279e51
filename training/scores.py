"""Scores by the protocol that the field's tables use.

HR cropped to a multiple of the scale, LR by MATLAB's bicubic rounded to 8 bits, SR rounded to
8 bits, luma by BT.601, a border of `scale` pixels left out, PSNR over 255, SSIM with an 11x11
Gaussian window of sigma 1.5 (Z. Wang et al., "Image quality assessment: from error
visibility to structural similarity", 2004).
"""

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
Float64Array = npt.NDArray[np.float64]

PROTOCOL = "luma (BT.601), border crop = scale, LR by MATLAB bicubic, SR rounded to 8 bits"

_LUMA_FROM_RGB = np.array([65.481, 128.553, 24.966]) / 255.0


def luma(rgb_HWC: UInt8Array) -> Float64Array:
    """BT.601 luma in 16..235, not rounded: uint8 (H, W, 3) to float64 (H, W).

    >>> luma(np.full((1, 1, 3), 255, np.uint8)).round(6).tolist()
    [[235.0]]
    """
    y: Float64Array = rgb_HWC @ _LUMA_FROM_RGB + 16.0
    return y


def psnr_db(a_HW: Float64Array, b_HW: Float64Array) -> float:
    """Peak signal-to-noise ratio in dB over a peak of 255; infinite for equal pictures."""
    mean_squared_error = float(np.mean((a_HW - b_HW) ** 2))
    if mean_squared_error == 0.0:
        return float("inf")
    return float(10.0 * np.log10(255.0**2 / mean_squared_error))


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


def without_border(plane_HW: Float64Array, border_px: int) -> Float64Array:
    """The plane without `border_px` on each side."""
    return plane_HW[border_px:-border_px, border_px:-border_px]
