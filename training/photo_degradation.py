"""Low-resolution pictures as they come from the web: blurred, resized, noisy and compressed, in random order and strength.

After X. Wang et al., "Real-ESRGAN", 2021, arXiv:2107.10833 (two rounds of all four, the second milder) and K. Zhang et
al., "Designing a Practical Degradation Model for Deep Blind Image Super-Resolution" (BSRGAN), 2021, arXiv:2103.14006
(their random order).

Deviations: strengths are those of an ordinary picture, not of a ruined one; blur is measured in LR pixels, so that every
scale is degraded alike; shot noise is normal with Poisson's variance; no sinc filter. Every step works on 8 bits, as
programs that pass pictures on do. Every step is symmetric, and a resize maps the whole picture on the whole picture: nothing ever shifts,
so that the LR lies on the grid of MATLAB's bicubic.

Cost: 1.7 ms for a patch of 128x128, 2.8 ms for 192x192, at x4 on one busy core (mean of 300, Pillow 12).
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]
Size = tuple[int, int]

_FILTERS = (  # not BOX, which moves pixels by up to half of one
    Image.Resampling.HAMMING,
    Image.Resampling.BILINEAR,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
)


@dataclass(frozen=True)
class _Round:
    """The strengths of one round; each is drawn uniformly between two bounds."""

    likelihood: float
    """Of each of blur and noise."""
    blur_lr_px: tuple[float, float]
    """Standard deviation of the blur."""
    noise_levels: tuple[float, float]
    """Standard deviation of the noise in mid-grey, of 255."""
    jpeg_quality: tuple[int, int]
    """As libjpeg counts."""


_FIRST = _Round(likelihood=0.7, blur_lr_px=(0.05, 0.6), noise_levels=(1.0, 8.0), jpeg_quality=(50, 95))
_SECOND = _Round(likelihood=0.4, blur_lr_px=(0.05, 0.3), noise_levels=(0.5, 3.0), jpeg_quality=(60, 95))


def photo(hr_HWC: UInt8Array, scale: int, generator: np.random.Generator) -> UInt8Array:
    """A random web picture of what HR shows: uint8 RGB (H, W, 3) to (H/scale, W/scale, 3).

    Both sides are multiples of the scale.
    """
    height, width = hr_HWC.shape[:2]
    lr_size = (width // scale, height // scale)
    picture = Image.fromarray(hr_HWC)
    between = (
        generator.uniform(1.0, scale) if generator.random() < 0.8 else generator.uniform(1.0, 1.2) * scale
    )
    for strengths, factor in ((_FIRST, between), (_SECOND, 1.0)):
        size = (round(lr_size[0] * factor), round(lr_size[1] * factor))
        for step in generator.permutation(4):
            picture = _STEPS[step](picture, size, lr_size, strengths, generator)
    return np.asarray(picture)


def _blurred(
    picture: Image.Image, size: Size, lr_size: Size, strengths: _Round, generator: np.random.Generator
) -> Image.Image:
    """By a Gaussian, half of the time one that is wider along a random direction."""
    if generator.random() >= strengths.likelihood:
        return picture
    sigmas_px = generator.uniform(*strengths.blur_lr_px, size=2) * (picture.width / lr_size[0])
    narrow, wide = float(sigmas_px.min()), float(sigmas_px.max())
    picture = picture.filter(ImageFilter.GaussianBlur(narrow))
    if generator.random() < 0.5:
        return picture
    # The binomial weights 1 2 1, a step of d apart, add a variance of d²/2 along that line.
    step_px = math.sqrt(2.0 * (wide**2 - narrow**2))
    angle = generator.uniform(0.0, math.pi)
    return _spread(picture, round(step_px * math.sin(angle)), round(step_px * math.cos(angle)))


def _spread(picture: Image.Image, down: int, right: int) -> Image.Image:
    """Each pixel mixed with those at (down, right) and at (-down, -right), by the weights 2, 1 and 1."""
    rows, columns = abs(down), abs(right)
    samples = np.asarray(picture)
    height, width = samples.shape[:2]
    padded = np.pad(samples, ((rows, rows), (columns, columns), (0, 0)), mode="edge").astype(np.uint16)

    def shifted(down: int, right: int) -> npt.NDArray[np.uint16]:
        return padded[rows + down : rows + down + height, columns + right : columns + right + width]

    mixed = 2 * shifted(0, 0) + shifted(down, right) + shifted(-down, -right) + 2
    return Image.fromarray((mixed >> 2).astype(np.uint8))


def _resized(
    picture: Image.Image, size: Size, lr_size: Size, strengths: _Round, generator: np.random.Generator
) -> Image.Image:
    """By a random filter, antialiased where it makes smaller."""
    return picture.resize(size, _FILTERS[generator.integers(len(_FILTERS))])


def _noisy(
    picture: Image.Image, size: Size, lr_size: Size, strengths: _Round, generator: np.random.Generator
) -> Image.Image:
    """With a sensor's even noise or with light's shot noise, in colour or in grey."""
    if generator.random() >= strengths.likelihood:
        return picture
    samples = np.asarray(picture)
    channels = 1 if generator.random() < 0.4 else 3
    height, width = samples.shape[:2]
    noise = _normal(height * width * channels, generator).reshape(height, width, channels)
    noise = noise * np.float32(generator.uniform(*strengths.noise_levels))
    if generator.random() < 0.5:  # the variance grows with the light
        noise = noise * np.sqrt(samples * np.float32(1 / 128))
    noise = noise + samples
    noise += np.float32(0.5)
    return Image.fromarray(noise.clip(0.0, 255.0, out=noise).astype(np.uint8))


def _normal(count: int, generator: np.random.Generator) -> Float32Array:
    """So many normal numbers: a run of a million that were drawn once, since drawing takes longer than all the rest."""
    pool = _pool()
    if count > len(pool):
        return generator.standard_normal(count, dtype=np.float32)
    start = generator.integers(len(pool) - count + 1)
    return pool[start : start + count]


@lru_cache(maxsize=1)
def _pool() -> Float32Array:
    return np.random.default_rng(0).standard_normal(2**20, dtype=np.float32)


def _compressed(
    picture: Image.Image, size: Size, lr_size: Size, strengths: _Round, generator: np.random.Generator
) -> Image.Image:
    """Through a JPEG file, most of the time with halved colour as cameras and web sites write it."""
    file = io.BytesIO()
    low, high = strengths.jpeg_quality
    halved = generator.random() < 0.7
    picture.save(
        file,
        "JPEG",
        quality=int(generator.integers(low, high + 1)),
        subsampling="4:2:0" if halved else "4:4:4",
    )
    decoded = Image.open(file)
    decoded.load()
    return decoded


_Step = Callable[[Image.Image, Size, Size, _Round, np.random.Generator], Image.Image]
_STEPS: tuple[_Step, ...] = (_blurred, _resized, _noisy, _compressed)
