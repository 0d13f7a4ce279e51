"""Whatever a folder of somebody's pictures may hold."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.unit.training.conftest import soft_noise
from training.photograph import DatasetError, read_rgb


def test_a_grey_picture_is_read_as_rgb(tmp_path: Path) -> None:
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "grey.png")
    rgb = read_rgb(tmp_path / "grey.png")
    assert rgb.shape == (8, 8, 3)
    assert (rgb == rgb[:, :, :1]).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_are_rounded_to_8(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"deep.{suffix}"
    levels = np.array([[0, 128, 129, 257, 32768, 65407, 65535]], np.uint16)
    Image.fromarray(levels).save(path)
    assert read_rgb(path)[0, :, 1].tolist() == [0, 0, 1, 1, 128, 255, 255]


def test_a_cmyk_jpeg_shows_its_colours(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), (200, 40, 40)).convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    np.testing.assert_allclose(read_rgb(tmp_path / "print.jpg")[8, 8], (200, 40, 40), atol=3)


def test_a_palette_with_transparency_shows_its_colours(tmp_path: Path) -> None:
    palette = Image.fromarray(soft_noise(0, 16, 16)).quantize(8)
    palette.save(tmp_path / "palette.png", transparency=bytes([0, 128, 255]))
    expected = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(read_rgb(tmp_path / "palette.png"), expected)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.97])
def test_a_truncated_picture_is_named(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(soft_noise(1, 64, 64)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(DatasetError, match=rf"cut\.{suffix} cannot be read as a picture"):
        read_rgb(path)


def test_samples_of_32_bits_are_refused_with_what_to_do(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(DatasetError, match=r"float\.tif has samples of 32 bits; save it with 8 or 16 bits"):
        read_rgb(tmp_path / "float.tif")


def test_a_picture_of_absurd_size_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (64, 64)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DatasetError, match=r"bomb\.png cannot be read as a picture: .*exceeds limit"):
        read_rgb(tmp_path / "bomb.png")
