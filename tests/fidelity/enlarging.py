"""A picture's file enlarged, and files looked into by other readers than ours."""

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from worker.contract.finish import UNCHANGED, Finish
from worker.contract.jobs import PictureFormat
from worker.contract.reading import AS_IT_IS, Reading
from worker.pipeline import Pipeline, Upscaled, UpscaleRequest

Samples = npt.NDArray[Any]


@dataclass(frozen=True)
class Enlarge:
    """Calls go through one pipeline."""

    pipeline: Pipeline

    def __call__(
        self,
        content: bytes,
        output_format: PictureFormat | None = None,
        *,
        scale: int = 2,
        model: str = "bicubic",
        quality: int | None = None,
        reading: Reading = AS_IT_IS,
        finish: Finish = UNCHANGED,
    ) -> Upscaled:
        """The result. Raises a :class:`worker.errors.JobError`."""
        request = UpscaleRequest(
            content, model, scale, output_format, quality, reading=reading, finish=finish
        )
        return self.pipeline.upscale(request)


def file_of(image: Image.Image, name: str = "PNG", **options: Any) -> bytes:
    """Written by Pillow."""
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


def deep_file_of(samples_HWC: Samples, name: str = "PNG", profile: bytes | None = None) -> bytes:
    """16 bits a sample: a PNG by libpng, a TIFF by tifffile."""
    channels = samples_HWC.shape[2]
    samples = np.ascontiguousarray(samples_HWC[..., 0] if channels == 1 else samples_HWC)
    if name == "PNG":
        plain = bytes(imagecodecs.png_encode(samples))
        return plain if profile is None else with_profile(plain, profile)
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        samples,
        photometric="rgb" if channels > 2 else "minisblack",
        extrasamples=["unassalpha"] if channels in (2, 4) else [],
        planarconfig="contig" if channels > 1 else None,
        iccprofile=profile,
    )
    return file.getvalue()


def with_profile(png: bytes, profile: bytes) -> bytes:
    """A PNG with an iCCP chunk after its header."""
    return png[:33] + png_chunk(b"iCCP", b"some profile\0\0" + zlib.compress(profile)) + png[33:]


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """With its length and checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def opened(content: bytes) -> Image.Image:
    """By Pillow, loaded."""
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def stored(content: bytes) -> Samples:
    """The samples as (H, W, C), uint8 or uint16, of a PNG or TIFF without palette."""
    if content.startswith(b"\x89PNG"):
        samples = imagecodecs.png_decode(content)
    else:
        samples = tifffile.imread(io.BytesIO(content))
    return samples if samples.ndim == 3 else samples[..., None]


def reference_bicubic(samples: Samples, scale: int) -> npt.NDArray[np.float64]:
    """Keys' cubic (a = -0.5) with mirrored borders in float64: (H, W, C) of any numbers to (scale H, scale W, C)."""
    result = samples.astype(np.float64)
    for axis in (0, 1):
        size = samples.shape[axis]
        place = (np.arange(size * scale) + 0.5) / scale - 0.5
        first = np.floor(place).astype(int) - 1
        total = np.zeros(())
        for tap in range(4):
            at = first + tap
            folded = np.mod(at, 2 * size)
            folded = np.where(folded < size, folded, 2 * size - 1 - folded)
            shape = [1] * result.ndim
            shape[axis] = -1
            total = total + result.take(folded, axis) * _keys(np.abs(place - at)).reshape(shape)
        result = total
    return result


def _keys(distance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance <= 1, near, np.where(distance <= 2, far, 0))
