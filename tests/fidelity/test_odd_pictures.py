"""PngSuite (Willem van Schaik) and the EXIF orientation examples (Dave Perrett), every file: the right picture, or the right refusal.

ENLARGER_ODD_PICTURES names the folder with `pngsuite/` and `exif_orientation/` in it; `expectations.json` lists what is expected.
"""

import json
import os
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from tests.fidelity.enlarging import Enlarge, Samples, opened, reference_bicubic, stored
from worker.contract.jobs import PictureFormat
from worker.errors import PictureDamagedError, PictureUnsupportedError

EXPECTATIONS = json.loads((Path(__file__).parent / "expectations.json").read_text())
FOLDER = os.environ.get("ENLARGER_ODD_PICTURES")
needs_folder = pytest.mark.skipif(not FOLDER, reason="ENLARGER_ODD_PICTURES names no folder of odd pictures")


def content_of(name: str) -> bytes:
    return Path(FOLDER or "", name).read_bytes()


@needs_folder
def test_every_file_is_expected() -> None:
    folder = Path(FOLDER or "")
    there = {
        str(path.relative_to(folder)) for suffix in ("png", "jpg") for path in folder.rglob(f"*.{suffix}")
    }
    assert there == set(EXPECTATIONS)


def source_of(content: bytes, bits: int, channels: int) -> Samples:
    """By Pillow where it keeps what is in the file, else by libpng, of which Pillow shows the upper halves."""
    if bits == 8:
        mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels]
        image = opened(content)
        if mode == "L" and image.mode == "P":
            image = image.convert("RGB")
        if mode == "LA" and image.mode == "L":
            image = image.convert("LA")
        samples = np.asarray(image.convert(mode))
        return samples if samples.ndim == 3 else samples[..., None]
    deep: Samples = imagecodecs.png_decode(content)
    return deep if deep.ndim == 3 else deep[..., None]


@needs_folder
@pytest.mark.parametrize("name", sorted(name for name in EXPECTATIONS if name.endswith(".png")))
def test_pngs(enlarge: Enlarge, name: str) -> None:
    expected, content = EXPECTATIONS[name], content_of(name)
    if "refused" in expected:
        kind = {"damaged": PictureDamagedError, "unsupported": PictureUnsupportedError}[expected["refused"]]
        with pytest.raises(kind):
            enlarge(content)
        return
    result = enlarge(content)
    made = stored(result.content)
    width, height = expected["size"]
    assert made.shape == (height * 2, width * 2, expected["channels"])
    assert made.dtype.itemsize * 8 == expected["bits"]
    source = source_of(content, expected["bits"], expected["channels"])
    reference = reference_bicubic(source, 2).clip(0, np.iinfo(made.dtype).max)
    # Where nothing is seen, and beside it, the colour is the neighbours'.
    seen = np.ones(made.shape[:2], bool)
    if expected["channels"] in (2, 4):
        hidden = np.pad(source[..., -1] == 0, 2, mode="symmetric")
        near = np.lib.stride_tricks.sliding_window_view(hidden, (5, 5)).any(axis=(2, 3))
        seen = ~near.repeat(2, axis=0).repeat(2, axis=1)
        assert np.abs(made[..., -1] - reference[..., -1]).max() <= 1
    assert np.abs(made[seen] - reference[seen]).max(initial=0) <= 1


@needs_folder
@pytest.mark.parametrize("name", sorted(name for name in EXPECTATIONS if name.endswith(".jpg")))
def test_telephones_pictures_stand_upright(enlarge: Enlarge, name: str) -> None:
    expected = EXPECTATIONS[name]
    content = content_of(name)
    result = enlarge(content, PictureFormat.PNG)
    made = opened(result.content)
    width, height = expected["size"]
    assert made.size == (width * 2, height * 2)
    upright = opened(content_of(expected["same_as"]))
    difference = np.asarray(made.convert("RGB").resize((60, 60))).astype(int) - np.asarray(
        upright.resize((60, 60))
    )
    # Wrongly turned, it would be 40 and more: each file is a JPEG of its own of the same picture, with its number drawn in.
    assert np.abs(difference).mean() < 12
