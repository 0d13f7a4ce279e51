"""TIFF as others read it."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import worker.tiff
from worker.tiff import TooLargeForTiffError, encode


def read(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


@given(
    height=st.integers(1, 40), width=st.integers(1, 40), channels=st.integers(1, 4), seed=st.integers(0, 99)
)
def test_every_sample_comes_back(height: int, width: int, channels: int, seed: int) -> None:
    samples = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    image = read(encode(samples))
    assert image.format == "TIFF"
    assert image.mode == ["L", "LA", "RGB", "RGBA"][channels - 1]
    assert np.array_equal(np.asarray(image).reshape(samples.shape), samples)


def test_a_picture_has_many_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.tiff, "STRIP_BYTES", 7 * 40 * 3)
    samples = np.random.default_rng(0).integers(0, 256, (100, 40, 3), np.uint8)
    image = read(encode(samples))
    tags: Any = image.tag_v2  # type: ignore[attr-defined]
    assert len(tags[273]) == 15
    assert np.array_equal(np.asarray(image), samples)


def test_exif_and_profile_are_kept_but_for_what_describes_the_pixels() -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0100], exif[0x0102] = "a camera", 12, 99
    exif[0x8769] = {0x9003: "2020:01:01 00:00:00"}
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}
    image = read(encode(np.zeros((5, 7, 3), np.uint8), b"a profile", exif.tobytes()))
    assert image.size == (7, 5)
    assert image.info["icc_profile"] == b"a profile"
    found = image.getexif()
    assert found[0x010F] == "a camera"
    assert found.get_ifd(0x8769)[0x9003] == "2020:01:01 00:00:00"
    assert found.get_ifd(0x8825)[1] == "N"


def test_what_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.tiff, "MAX_BYTES", 1000)
    with pytest.raises(TooLargeForTiffError):
        encode(np.zeros((5, 7, 3), np.uint8))


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
    image = read(encode(samples, b"a profile", bytes(content)))
    assert np.array_equal(np.asarray(image), samples)
    assert image.info["icc_profile"] == b"a profile"
