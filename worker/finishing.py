"""What is done to a result after the network: reduced to the size that was asked for, sharpened, without what its file said."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sr_models.samples import StoredSamples, white
from worker.contract.finish import Finish, Metadata
from worker.contract.jobs import Note
from worker.metadata import of_size
from worker.picture import Frame, Picture

FloatArray = npt.NDArray[np.float32]

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Rec. 601's, as JPEG has it."""
BLUR = np.array([1, 6, 15, 20, 15, 6, 1], np.float32) / 64
"""Binomial: a Gaussian of 1.2 px, about what a network leaves soft."""
STRIP_ROWS = 256
"""What is sharpened at a time, so that a huge picture's floats do not have to be in memory at once."""

_LEVELS = 1 << 16
"""Steps of linear light in the table back to sRGB: in the darks, where they are coarsest, 20 for each of its 255."""


def _light_of(srgb: npt.NDArray[Any]) -> FloatArray:
    """IEC 61966-2-1, numbers of 0 to 1."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _srgb_of(light: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The inverse."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


_LINEAR, _LINEAR_OF_16_BITS = _light_of(np.arange(256) / 255), _light_of(np.arange(1 << 16) / 65_535)
_SRGB = np.rint(_srgb_of(np.arange(_LEVELS) / (_LEVELS - 1)) * 255).astype(np.uint8)


def finish(picture: Picture, planes: Sequence[StoredSamples], wanted: Finish) -> Picture:
    """The decoded picture with its enlarged planes, as it was asked for."""
    width, height = picture.size_px
    larger = picture.with_planes(planes)
    scale = larger.size_px[0] // width
    size_px = wanted.size_px(width, height, scale)
    larger = replace(
        larger, frames=tuple(_finished(frame, larger, size_px, wanted) for frame in larger.frames)
    )
    if wanted.metadata is Metadata.STRIP:
        wished_away = Note.METADATA_DROPPED
        notes = tuple(note for note in larger.notes if note is not wished_away)
        larger = replace(larger, exif=None, xmp=None, iptc=None, notes=notes)
    return of_size(larger, picture.size_px)


def _finished(frame: Frame, picture: Picture, size_px: tuple[int, int], wanted: Finish) -> Frame:
    if size_px != picture.size_px:
        frame = reduced(frame, size_px, grey=picture.grey)
    return replace(frame, colour=sharpened(frame.colour, wanted.sharpen)) if wanted.sharpen else frame


def reduced(frame: Frame, size_px: tuple[int, int], *, grey: bool = False) -> Frame:
    """The frame at another width and height, by Lanczos in linear light.

    In sRGB's own numbers fine patterns of dark and light would become too dark. Another profile's curve is taken for sRGB's,
    which it is close to. Transparent pixels lend their colour to nobody.
    """
    channels = 1 if grey else 3
    most = white(frame.colour)
    opacity = None if frame.alpha is None else frame.alpha[..., 0].astype(np.float32) / np.float32(most)
    smaller_opacity = None if opacity is None else _resized(opacity, size_px).clip(0, 1)
    planes = []
    for channel in range(channels):
        light = _linear(frame.colour[..., channel])
        if opacity is None or smaller_opacity is None:
            light = _resized(light, size_px)
        else:
            light = _resized(light * opacity, size_px) / np.maximum(smaller_opacity, 1e-6)
        planes.append(_stored(light.clip(0, 1), frame.colour))
    colour = np.stack(planes * (3 // channels), axis=-1)
    if smaller_opacity is None:
        return replace(frame, colour=colour)
    alpha = np.rint(smaller_opacity * most).astype(frame.colour.dtype)
    return replace(frame, colour=colour, alpha=np.stack([alpha] * 3, axis=-1))


def _linear(samples: StoredSamples) -> FloatArray:
    """Light of sRGB's numbers: float32 of 0 to 1, by a table."""
    return (_LINEAR if samples.dtype == np.uint8 else _LINEAR_OF_16_BITS)[samples]


def _stored(light: FloatArray, like: StoredSamples) -> StoredSamples:
    """SRGB's numbers of light, of the same type as those."""
    if like.dtype == np.uint8:
        shallow: StoredSamples = _SRGB[(light * (_LEVELS - 1) + 0.5).astype(np.uint16)]
        return shallow
    stored: StoredSamples = np.rint(_srgb_of(light) * 65_535).astype(np.uint16)
    return stored


def _resized(samples: FloatArray, size_px: tuple[int, int]) -> FloatArray:
    """float32 (H, W) to (H', W')."""
    return np.asarray(Image.fromarray(samples).resize(size_px, Image.Resampling.LANCZOS))


def sharpened(colour: StoredSamples, amount: float) -> StoredSamples:
    """Unsharp mask on luma: (H, W, 3) to the same type. Colours keep their differences, so that edges get no coloured rims."""
    height = colour.shape[0]
    halo = len(BLUR) // 2
    result = np.empty_like(colour)
    for top in range(0, height, STRIP_ROWS):
        bottom = min(height, top + STRIP_ROWS)
        above, below = max(0, top - halo), min(height, bottom + halo)
        luma = colour[above:below].astype(np.float32) @ LUMA
        detail = luma - _blurred(luma)
        kept = slice(top - above, bottom - above)
        strip = colour[top:bottom] + amount * detail[kept, :, None]
        result[top:bottom] = np.rint(strip).clip(0, white(colour))
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
