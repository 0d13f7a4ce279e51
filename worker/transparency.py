"""Colour where a picture is transparent.

What colour a pixel has that nobody sees is left to chance: most programs write black. A network that looks at it draws a dark rim around what
is seen. So it gets the colour of what is seen nearby before anything is enlarged, by pulling the colours into ever smaller pictures and pushing them
back where none was (Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 3.3).
"""

import numpy as np
import numpy.typing as npt

from sr_models.samples import StoredSamples

Float32Array = npt.NDArray[np.float32]

STRIP_ROWS = 256
"""Of the picture itself, an even number: as floats, all of it would take more memory than all else that a decoder holds."""


def fill_hidden_colours(colour_HWC: StoredSamples, alpha_HW: StoredSamples) -> None:
    """Give every pixel of alpha 0 the colour of what is near, in place; nothing is done where all of them have it, or none."""
    hidden = alpha_HW == 0
    if not hidden.any() or hidden.all():
        return
    filled = _filled(*_halved_by_strips(colour_HWC, hidden))
    for top in range(0, hidden.shape[0], STRIP_ROWS):
        strip = slice(top, top + STRIP_ROWS)
        found = _pushed(filled[top // 2 : (top + STRIP_ROWS) // 2], *hidden[strip].shape)
        colour_HWC[strip][hidden[strip]] = np.rint(found[hidden[strip]]).astype(colour_HWC.dtype)


def limit_to_neighbours(larger_HWC: StoredSamples, alpha_HWC: StoredSamples) -> None:
    """Keep enlarged opacity within that of the pixels between which it lies, in place.

    Networks learn from photographs, whose edges are soft. At the hard one of a mask they ring, and would leave specks of colour on
    nothing beside it.
    """
    height, width = alpha_HWC.shape[:2]
    scale = larger_HWC.shape[0] // height
    padded = np.pad(alpha_HWC[..., 0], 1, mode="edge")
    for y in range(scale):
        for x in range(scale):
            corners = [
                padded[top : top + height, left : left + width]
                for top in _between(y, scale)
                for left in _between(x, scale)
            ]
            least, greatest = np.minimum.reduce(corners), np.maximum.reduce(corners)
            phase = larger_HWC[y::scale, x::scale]
            np.clip(phase, least[..., None], greatest[..., None], out=phase)


def _between(phase: int, scale: int) -> set[int]:
    """Of the pixels before, at and after, those between which the middle of a pixel's part lies.

    >>> [_between(phase, 3) for phase in range(3)]
    [{0, 1}, {1}, {1, 2}]
    """
    off = 2 * phase + 1 - scale
    return {1 + (off > 0) - (off < 0), 1}


def _halved_by_strips(
    colour_HWC: StoredSamples, hidden_HW: npt.NDArray[np.bool_]
) -> tuple[Float32Array, Float32Array]:
    """Sums of colours, and how many there were, over squares of four pixels."""
    weighted, weights = [], []
    for top in range(0, hidden_HW.shape[0], STRIP_ROWS):
        strip = slice(top, top + STRIP_ROWS)
        weight = (~hidden_HW[strip]).astype(np.float32)
        weights.append(_halved(weight))
        weighted.append(_halved(colour_HWC[strip].astype(np.float32) * weight[..., None]))
    return np.concatenate(weighted), np.concatenate(weights)


def _filled(weighted_HWC: Float32Array, weight_HW: Float32Array) -> Float32Array:
    """Colours everywhere, from colours times weights, where some weight is 0; in the place of the first."""
    known = weight_HW > 0
    coarse = None if known.all() else _filled(_halved(weighted_HWC), _halved(weight_HW))
    weighted_HWC /= np.where(known, weight_HW, np.float32(1.0))[..., None]
    if coarse is not None:
        np.copyto(weighted_HWC, _pushed(coarse, *known.shape), where=~known[..., None])
    return weighted_HWC


def _pushed(coarse: Float32Array, height: int, width: int) -> Float32Array:
    """Every sample four times."""
    return coarse.repeat(2, axis=0)[:height].repeat(2, axis=1)[:, :width]


def _halved(samples: Float32Array) -> Float32Array:
    """Sums over squares of four; the last row and column may stand alone."""
    height, width = samples.shape[:2]
    rest = [(0, height % 2), (0, width % 2)] + [(0, 0)] * (samples.ndim - 2)
    even = np.pad(samples, rest)
    sums: Float32Array = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    return sums
