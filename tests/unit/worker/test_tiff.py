"""TIFF as others read it."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import worker.tiff
from worker.contract.jobs import InputFormat
from worker.picture import Picture
from worker.tiff import TooLargeForTiffError, encode

NOTHING = Picture(InputFormat.TIFF, (), grey=False)
"""For what it says of its file: nothing."""


def read(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


@given(
    height=st.integers(1, 40), width=st.integers(1, 40), channels=st.integers(1, 4), seed=st.integers(0, 99)
)
def test_every_sample_comes_back(height: int, width: int, channels: int, seed: int) -> None:
    samples = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    image = read(encode([samples], NOTHING))
    assert image.format == "TIFF"
    assert image.mode == ["L", "LA", "RGB", "RGBA"][channels - 1]
    assert np.array_equal(np.asarray(image).reshape(samples.shape), samples)


def test_a_picture_has_many_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.tiff, "STRIP_BYTES", 7 * 40 * 3)
    samples = np.random.default_rng(0).integers(0, 256, (100, 40, 3), np.uint8)
    image = read(encode([samples], NOTHING))
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    assert len(tags[273]) == 15
    assert np.array_equal(np.asarray(image), samples)


def test_exif_and_profile_are_kept_but_for_what_describes_the_pixels() -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0100], exif[0x0102] = "a camera", 12, 99
    exif[0x8769] = {0x9003: "2020:01:01 00:00:00"}
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}
    image = read(
        encode(
            [np.zeros((5, 7, 3), np.uint8)], replace(NOTHING, icc_profile=b"a profile", exif=exif.tobytes())
        )
    )
    assert image.size == (7, 5)
    assert image.info["icc_profile"] == b"a profile"
    found = image.getexif()
    assert found[0x010F] == "a camera"
    assert found.get_ifd(0x8769)[0x9003] == "2020:01:01 00:00:00"
    assert found.get_ifd(0x8825)[1] == "N"


def test_what_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.tiff, "MAX_BYTES", 1000)
    with pytest.raises(TooLargeForTiffError):
        encode([np.zeros((5, 7, 3), np.uint8)], NOTHING)


@pytest.mark.filterwarnings("ignore")
@given(
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=12),
    clashing=st.dictionaries(
        st.sampled_from([254, 273, 277, 279, 317, 322, 324, 330, 338, 513]),
        st.integers(0, 65_535),
        max_size=4,
    ),
)
def test_no_exif_spoils_the_picture(changes: list[tuple[int, int]], clashing: dict[int, int]) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x011A] = "a camera", 300.0
    for tag, value in clashing.items():
        exif[tag] = value
    exif[0x8769] = {0x9003: "2020:01:01 00:00:00", 0x829A: 0.01}
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}
    content = bytearray(exif.tobytes())
    for position, value in changes:
        content[6 + position % (len(content) - 6)] = value
    samples = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    image = read(encode([samples], replace(NOTHING, icc_profile=b"a profile", exif=bytes(content))))
    assert np.array_equal(np.asarray(image), samples)
    assert image.info["icc_profile"] == b"a profile"


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bits_and_pages_come_back(channels: int) -> None:
    pages = [
        np.random.default_rng(seed).integers(0, 65_536, (30, 20, channels), np.uint16) for seed in range(3)
    ]
    with tifffile.TiffFile(io.BytesIO(encode(pages, NOTHING))) as file:
        assert len(file.pages) == 3
        for page, samples in zip(file.pages, pages, strict=True):
            assert np.array_equal(page.asarray().reshape(samples.shape), samples)


def test_resolution_xmp_and_iptc_are_said() -> None:
    described = replace(NOTHING, dpi=(300.0, 150.0), xmp=b"<x/>", iptc=b"records.")
    image = read(encode([np.zeros((5, 7, 3), np.uint8)], described))
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    assert image.info["dpi"] == (300, 150)
    assert tags[700] == b"<x/>"
    assert tags[33723] == b"records."
