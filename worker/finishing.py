"""What is done to a result after the network: reduced to the size that was asked for, sharpened, without what its file said."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from worker.contract.finish import Finish, Metadata
from worker.images import Picture, UInt8Array

FloatArray = npt.NDArray[np.float32]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Rec. 601's, as JPEG has it."""
BLUR = np.array([1, 6, 15, 20, 15, 6, 1], np.float32) / 64
"""Binomial: a Gaussian of 1.2 px, about what a network leaves soft."""
STRIP_ROWS = 256
"""What is sharpened at a time, so that a huge picture's floats do not have to be in memory at once."""

_LEVELS = 1 << 16
"""Steps of linear light in the table back to sRGB: in the darks, where they are coarsest, 20 for each of its 255."""


def _srgb_to_linear() -> FloatArray:
    """IEC 61966-2-1."""
    srgb = np.arange(256) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _linear_to_srgb() -> UInt8Array:
    linear = np.arange(_LEVELS) / (_LEVELS - 1)
    srgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    levels: UInt8Array = np.rint(srgb * 255).astype(np.uint8)
    return levels


_SHARES: FloatArray = (np.arange(256) / 255).astype(np.float32)
_LINEAR, _SRGB = _srgb_to_linear(), _linear_to_srgb()


def finish(picture: Picture, scale: int, wanted: Finish) -> Picture:
    """The enlarged picture as it was asked for; `scale` is by how much it was enlarged."""
    height, width = (side // scale for side in picture.colour.shape[:2])
    size_px = wanted.size_px(width, height, scale)
    if size_px != (width * scale, height * scale):
        picture = reduced(picture, size_px)
    if wanted.sharpen:
        picture = replace(picture, colour=sharpened(picture.colour, wanted.sharpen))
    return replace(picture, exif=None) if wanted.metadata is Metadata.STRIP else picture


def reduced(picture: Picture, size_px: tuple[int, int]) -> Picture:
    """The picture at another width and height, by Lanczos in linear light.

    In sRGB's own numbers fine patterns of dark and light would become too dark. Another profile's curve is taken for sRGB's,
    which it is close to. Transparent pixels lend their colour to nobody.
    """
    channels = 1 if picture.grey else 3
    opacity = None if picture.alpha is None else _SHARES[picture.alpha[..., 0]]
    smaller_opacity = None if opacity is None else _resized(opacity, size_px).clip(0, 1)
    planes = []
    for channel in range(channels):
        light = _LINEAR[picture.colour[..., channel]]
        if opacity is None or smaller_opacity is None:
            light = _resized(light, size_px)
        else:
            light = _resized(light * opacity, size_px) / np.maximum(smaller_opacity, 1e-6)
        planes.append(_SRGB[(light.clip(0, 1) * (_LEVELS - 1) + 0.5).astype(np.uint16)])
    colour = np.stack(planes * (3 // channels), axis=-1)
    if smaller_opacity is None:
        return replace(picture, colour=colour)
    alpha = np.rint(smaller_opacity * 255).astype(np.uint8)
    return replace(picture, colour=colour, alpha=np.stack([alpha] * 3, axis=-1))


def _resized(samples: FloatArray, size_px: tuple[int, int]) -> FloatArray:
    """float32 (H, W) to (H', W')."""
    return np.asarray(Image.fromarray(samples).resize(size_px, Image.Resampling.LANCZOS))


def sharpened(colour: UInt8Array, amount: float) -> UInt8Array:
    """Unsharp mask on luma: uint8 (H, W, 3) to the same. Colours keep their differences, so that edges get no coloured rims."""
    height = colour.shape[0]
    halo = len(BLUR) // 2
    result = np.empty_like(colour)
    for top in range(0, height, STRIP_ROWS):
        bottom = min(height, top + STRIP_ROWS)
        above, below = max(0, top - halo), min(height, bottom + halo)
        luma = colour[above:below] @ LUMA
        detail = luma - _blurred(luma)
        kept = slice(top - above, bottom - above)
        strip = colour[top:bottom] + amount * detail[kept, :, None]
        result[top:bottom] = np.rint(strip).clip(0, 255)
    return result


def _blurred(luma: FloatArray) -> FloatArray:
    """float32 (H, W), the border repeated."""
    for axis in (0, 1):
        halo = len(BLUR) // 2
        padded = np.pad(luma, [(halo, halo) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        length = luma.shape[axis]
        parts = (tap * padded.take(range(k, k + length), axis) for k, tap in enumerate(BLUR))
        luma = sum(parts, start=np.zeros_like(luma))
    return luma
