"""Samples of 16 bits, of which Pillow would make 8: read by libpng and OpenJPEG (imagecodecs) and by tifffile; Netpbm's plainly."""

import io
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from sr_models.samples import StoredSamples
from worker.contract.jobs import InputFormat
from worker.errors import PictureDamagedError, PictureUnsupportedError

_TIFF_BITS = 258
_UNSIGNED = 1
_WHITE_IS_ZERO, _RGB = 0, 2
_PREMULTIPLIED, _STRAIGHT = 1, 2
_RELATIVE_COLORIMETRIC, _BLACK_POINT_COMPENSATION = 1, 0x2000


def deep_samples(opened: Image.Image, content: bytes, file_format: InputFormat) -> StoredSamples | None:
    """The samples as (H, W, C) uint16 where there are 16 bits of several channels, which Pillow would make 8 of; None elsewhere."""
    match file_format:
        case InputFormat.PNG:
            return with_channels(imagecodecs.png_decode(content)) if content[24] == 16 else None
        case InputFormat.TIFF:
            pages = deep_tiff_pages(opened, content, first_only=True)
            return pages[0] if pages else None
        case InputFormat.JP2:
            bits = _jpeg2000_bits(content)
            if bits <= 8:
                return None
            return _over_16_bits(with_channels(imagecodecs.jpeg2k_decode(content)), (1 << bits) - 1)
        case InputFormat.PPM:
            return _deep_netpbm(content)
    return None


def with_channels(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(H, W) or (H, W, C) as (H, W, C)."""
    return samples if samples.ndim == 3 else samples[..., None]


def _jpeg2000_bits(content: bytes) -> int:
    """Of the first component, by the codestream's SIZ; 8 where there is none, which the reader will say."""
    start = content.find(b"\xff\x4f\xff\x51")
    return (content[start + 42] & 0x7F) + 1 if 0 <= start < len(content) - 42 else 8


def _over_16_bits(samples: npt.NDArray[Any], most: int) -> StoredSamples:
    """Samples of which the largest is `most`, over the whole range of 16 bits."""
    if most == 65_535:
        return samples.astype(np.uint16)
    wide = samples.astype(np.uint64) * 65_535
    return ((wide + most // 2) // most).clip(0, 65_535).astype(np.uint16)


def tiff_page_is_deep(opened: Image.Image) -> bool:
    """Whether the page that a TIFF is at has more than 8 bits a sample."""
    tags: Any = opened.tag_v2  # type: ignore[attr-defined]
    return not set(tags.get(_TIFF_BITS, (1,))) <= {1, 2, 4, 8}


def deep_tiff_pages(opened: Image.Image, content: bytes, *, first_only: bool = False) -> list[StoredSamples]:
    """The samples of each page, (H, W, C) uint16; none where the first has 8 bits or fewer.

    Raises PictureUnsupportedError where there are more than 16, or where pages differ.
    """
    if not tiff_page_is_deep(opened):
        return []
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        pages: list[Any] = [file.pages[0]] if first_only else list(file.pages)
        return [_samples_of_page(page) for page in pages]


def _samples_of_page(page: Any) -> StoredSamples:
    bits = page.bitspersample if isinstance(page.bitspersample, tuple) else (page.bitspersample,)
    kinds = page.sampleformat if isinstance(page.sampleformat, tuple) else (page.sampleformat,)
    if set(bits) != {16} or set(kinds) != {_UNSIGNED}:
        raise PictureUnsupportedError(
            f"A TIFF with samples of {max(bits)} bits is not supported: 8 or 16 bits, whole numbers, on every page, are."
        )
    samples: npt.NDArray[Any] = page.asarray(maxworkers=1)
    channels = page.samplesperpixel
    if page.planarconfig == 2 and channels > 1:
        samples = np.moveaxis(samples, 0, -1)
    samples = with_channels(samples)
    if page.photometric == _WHITE_IS_ZERO:
        samples = 65_535 - samples
    elif page.photometric > _RGB:
        raise PictureUnsupportedError("A TIFF of 16 bits is supported in grey and in RGB only.")
    colours = 1 if page.photometric < _RGB else 3
    if channels > colours:
        samples = samples[..., : colours + 1] if page.extrasamples else samples[..., :colours]
        if page.extrasamples and page.extrasamples[0] == _PREMULTIPLIED:
            samples = _divided_by_alpha(samples)
        elif page.extrasamples and page.extrasamples[0] != _STRAIGHT:
            samples = samples[..., :colours]
    return np.ascontiguousarray(samples)


def _divided_by_alpha(samples: npt.NDArray[Any]) -> StoredSamples:
    """Colours that were stored times alpha, as they are."""
    alpha = samples[..., -1:].astype(np.float64)
    colour = samples[..., :-1] * (65_535 / np.maximum(alpha, 1))
    return np.concatenate([colour.round().clip(0, 65_535), alpha], axis=-1).astype(np.uint16)


def _deep_netpbm(content: bytes) -> StoredSamples | None:
    """PGM and PPM with more than 8 bits: a header of four words, then big-endian samples; or numbers in words, where the first is P3.

    Pillow reads P2, the other plain one, in 16 bits.
    """
    if content[:2] not in (b"P3", b"P5", b"P6"):
        return None
    words: list[int] = []
    position = 2
    while len(words) < 3:
        while content[position : position + 1].isspace():
            position += 1
        if content[position : position + 1] == b"#":
            position = content.index(b"\n", position)
            continue
        end = position
        while content[end : end + 1].isdigit():
            end += 1
        words.append(int(content[position:end]))
        position = end
    width, height, most = words
    if most <= 255:
        return None
    channels = 1 if content[:2] == b"P5" else 3
    count = width * height * channels
    if content[:2] == b"P3":
        samples = np.array(content[position:].split(maxsplit=count)[:count], np.uint32)
        if samples.max(initial=0) > most:
            raise PictureDamagedError("The picture cannot be decoded: a sample is larger than the largest.")
    else:
        samples = np.frombuffer(content, ">u2", count, position + 1)
    return _over_16_bits(samples.reshape(height, width, channels), most)


def deep_in_srgb(samples_HWC: StoredSamples, profile: bytes) -> StoredSamples:
    """Converted by the profile: (H, W, 1 to 4) to the same, alpha as it is. Raises PictureDamagedError for a profile that makes no sense."""
    channels = samples_HWC.shape[2]
    colour = np.ascontiguousarray(samples_HWC[..., :3] if channels > 2 else samples_HWC[..., 0])
    try:
        converted = imagecodecs.cms_transform(
            colour,
            profile,
            imagecodecs.cms_profile("srgb"),
            colorspace="rgb" if channels > 2 else "gray",
            outcolorspace="rgb",
            intent=_RELATIVE_COLORIMETRIC,
            flags=_BLACK_POINT_COMPENSATION,
        )
    except imagecodecs.CmsError as error:
        raise PictureDamagedError(f"The colour profile cannot be used: {error}") from error
    colour_HWC = converted if channels > 2 else converted[..., 1:2]
    rest = samples_HWC[..., 3:] if channels > 2 else samples_HWC[..., 1:]
    return np.concatenate([colour_HWC, rest], axis=-1)
