"""PNG as we write it, against the specification, Pillow's reader and the standard library's zlib."""

import io
import struct
import tracemalloc
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.pictures import PHOTOGRAPHS
from worker import png
from worker.contract.jobs import InputFormat
from worker.picture import Picture

Samples = npt.NDArray[Any]

sides = st.integers(1, 24)
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


NOTHING = Picture(InputFormat.PNG, (), grey=False)
"""For what it says of its file: nothing."""


def smooth(height: int, width: int, channels: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """As an enlargement: each sample near its neighbours'."""
    small = noise(-(-height // 4), -(-width // 4), channels, seed)
    bands = [Image.fromarray(np.ascontiguousarray(small[..., channel])) for channel in range(channels)]
    larger = [np.asarray(band.resize((width, height), Image.Resampling.BICUBIC)) for band in bands]
    return np.stack(larger, axis=-1)


def flat(height: int, width: int, channels: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """As a drawing: bars of one colour, from top to bottom."""
    colours = np.random.default_rng(seed).integers(0, 256, (1, -(-width // 6), channels), np.uint8)
    return np.repeat(np.repeat(colours, 6, axis=1)[:, :width], height, axis=0)


def noise(height: int, width: int, channels: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


def chunks_of(content: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and content of each chunk; everything that the format demands of all of them is asserted."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = [], 8
    while at < len(content):
        (length,) = struct.unpack_from(">I", content, at)
        kind, data = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", content, at + 8 + length) == (zlib.crc32(kind + data),)
        chunks.append((kind, data))
        at += 12 + length
    kinds = [kind for kind, _ in chunks]
    first, last = kinds.index(b"IDAT"), len(kinds) - 2
    assert kinds[0] == b"IHDR"
    assert kinds[-1] == b"IEND"
    assert kinds[first : last + 1] == [b"IDAT"] * (last + 1 - first)
    assert len(set(kinds[:first])) == first
    assert set(kinds[1:first]) <= {b"iCCP", b"eXIf"}
    return chunks


def rows_of(chunks: list[tuple[bytes, bytes]], row_bytes: int) -> list[bytes]:
    """The filtered rows, each with its filter's number before it."""
    stream = zlib.decompressobj()
    rows = stream.decompress(b"".join(data for kind, data in chunks if kind == b"IDAT"))
    assert stream.eof
    assert not stream.unused_data
    assert len(rows) % (1 + row_bytes) == 0
    return [rows[at : at + 1 + row_bytes] for at in range(0, len(rows), 1 + row_bytes)]


def read_by_the_specification(content: bytes) -> Samples:
    """Decoded as https://www.w3.org/TR/png-3/#9Filters says it, byte by byte."""
    chunks = chunks_of(content)
    width, height, bits, colour_type, *rest = struct.unpack(">IIBBBBB", chunks[0][1])
    assert rest == [0, 0, 0]
    channels = {number: channels for channels, number in COLOUR_TYPES.items()}[colour_type]
    pixel_bytes = channels * bits // 8
    above, raw = bytes(width * pixel_bytes), bytearray()
    for row in rows_of(chunks, width * pixel_bytes):
        here = bytearray(row[1:])
        for x, up in enumerate(above):
            left = here[x - pixel_bytes] if x >= pixel_bytes else 0
            here[x] = (here[x] + {0: 0, 1: left, 2: up, 3: (left + up) // 2}[row[0]]) % 256
        above = bytes(here)
        raw += here
    return np.frombuffer(raw, f">u{bits // 8}").reshape(height, width, channels)


@given(
    height=sides,
    width=sides,
    channels=st.integers(1, 4),
    kind=st.sampled_from([smooth, flat, noise]),
    deep=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_samples_come_back_by_the_specification(
    height: int, width: int, channels: int, kind: Any, deep: bool, seed: int
) -> None:
    samples: Samples = kind(height, width, channels, seed)
    if deep:
        samples = samples.astype(np.uint16) * 251 + noise(height, width, channels, seed)
    result = read_by_the_specification(png.encode([samples]))
    assert result.dtype.itemsize == samples.dtype.itemsize
    assert np.array_equal(result, samples)


@given(
    height=st.integers(1, 600),
    width=st.integers(1, 600),
    channels=st.integers(1, 4),
    kind=st.sampled_from([smooth, flat, noise]),
    profile=st.binary(max_size=500),
)
def test_pillow_reads_the_same_samples_and_profile(
    height: int, width: int, channels: int, kind: Any, profile: bytes
) -> None:
    samples = kind(height, width, channels)
    content = png.encode([samples], replace(NOTHING, icc_profile=profile))
    with Image.open(io.BytesIO(content)) as image:
        image.verify()
    with Image.open(io.BytesIO(content)) as image:
        assert image.mode == {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
        assert np.array_equal(np.asarray(image).reshape(samples.shape), samples)
        assert image.info.get("icc_profile", b"") == profile
    chunks_of(content)


@pytest.mark.parametrize(("height", "width"), [(1, 200_000), (200_000, 1), (2, 100_000), (1031, 1033)])
@pytest.mark.parametrize("channels", [1, 4])
def test_long_sides_and_many_strips(height: int, width: int, channels: int) -> None:
    samples = smooth(height, width, channels)
    with Image.open(io.BytesIO(png.encode([samples]))) as image:
        assert np.array_equal(np.asarray(image).reshape(samples.shape), samples)


def test_16_bits_are_read_as_such() -> None:
    samples = noise(30, 40, 1).astype(np.uint16) * 257 - 3
    with Image.open(io.BytesIO(png.encode([samples]))) as image:
        assert image.mode.startswith("I")
        assert np.array_equal(np.asarray(image), samples[..., 0])
    colours = noise(30, 40, 3).astype(np.uint16) * 256 + noise(30, 40, 3, 1)
    with Image.open(io.BytesIO(png.encode([colours]))) as image:
        assert np.array_equal(np.asarray(image), colours >> 8)


def test_profile_and_exif_are_kept_and_nothing_else_is_said() -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    content = png.encode([noise(3, 3, 3)], replace(NOTHING, icc_profile=b"a profile", exif=exif.tobytes()))
    with Image.open(io.BytesIO(content)) as image:
        assert image.info["icc_profile"] == b"a profile"
        assert dict(image.getexif()) == {0x010F: "a camera"}
    assert [kind for kind, _ in chunks_of(content)] == [b"IHDR", b"iCCP", b"eXIf", b"IDAT", b"IEND"]
    # In JPEG, EXIF begins with its name; in PNG, with its byte order.
    assert dict(chunks_of(content))[b"eXIf"][:2] in (b"MM", b"II")
    assert [kind for kind, _ in chunks_of(png.encode([noise(3, 3, 3)]))] == [b"IHDR", b"IDAT", b"IEND"]


@pytest.mark.parametrize("kind", [smooth, flat])
def test_bands_and_views_are_one_picture(kind: Any) -> None:
    samples = kind(300, 400, 4)
    whole = png.encode([samples])
    grey_alpha = np.repeat(samples[..., 3:], 3, axis=-1)
    assert png.encode([samples[..., :3], grey_alpha[..., :1]]) == whole
    assert png.encode([samples[..., channel : channel + 1] for channel in range(4)]) == whole
    assert png.encode([np.asfortranarray(samples)]) == whole


def test_each_strip_has_the_filter_that_suits_it() -> None:
    drawing, photograph = flat(400, 500, 3), smooth(400, 500, 3)
    rows = rows_of(chunks_of(png.encode([np.concatenate([drawing, photograph])])), 1500)
    assert {row[0] for row in rows[1:200]} == {png.UP}
    assert {row[0] for row in rows[600:]} == {png.AVERAGE}


@pytest.mark.parametrize("name", ["astronaut", "cat", "coffee", "rocket"])
def test_an_enlarged_photograph_takes_no_more_than_by_pillow(name: str) -> None:
    with Image.open(PHOTOGRAPHS / f"{name}.png") as image:
        larger = image.convert("RGB").resize((3 * image.width, 3 * image.height), Image.Resampling.BICUBIC)
    by_pillow = io.BytesIO()
    larger.save(by_pillow, "png", compress_level=1)
    assert len(png.encode([np.asarray(larger)])) < 1.05 * len(by_pillow.getvalue())


@pytest.mark.parametrize("kind", [flat, noise])
def test_memory_is_the_file_and_a_few_strips(kind: Any) -> None:
    colour, alpha = kind(3000, 2000, 3), kind(3000, 2000, 3)
    tracemalloc.start()
    try:
        content = png.encode([colour, alpha[..., :1]])
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The file grows by an eighth at a time.
    assert peak_bytes < 1.2 * len(content) + 8 * png.STRIP_BYTES


def test_gamma_resolution_and_xmp_are_said() -> None:
    described = replace(NOTHING, gamma=0.45455, dpi=(300.0, 150.0), xmp=b"<x/>")
    with Image.open(io.BytesIO(png.encode([noise(3, 3, 3)], described))) as image:
        assert image.info["gamma"] == 0.45455
        assert image.info["dpi"] == pytest.approx((300, 150), abs=0.02)
        assert image.info["xmp"] == b"<x/>"
        image.load()
