"""A published version as an ONNX model for other runtimes, checked against torch before anyone sees it.

Legend: N batch, C channel, H height, W width.
"""

import copy
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from sr_models.bicubic import Bicubic
from sr_models.checkpoint import load
from sr_models.manifest import Checkpoint, Manifest

OPSET = 18
INPUT, OUTPUT = "lr", "sr"
TOLERANCE = 1e-4
"""Of samples in [0, 1]: a fortieth of an 8-bit level."""
CHECKED_SHAPES = ((1, 32, 48), (2, 17, 9), (1, 1, 5))
"""N, H and W; the model is traced on another."""


class ExportError(ValueError):
    """No file was written: the model cannot be expressed in ONNX, or does not compute what torch does."""


class ExportableBicubic(nn.Module):
    """What `sr_models.bicubic.Bicubic` computes, with its mirrored border written without a remainder.

    torch's exporter has no ONNX remainder by a size that is only known when the model runs.
    """

    kernel: Tensor

    def __init__(self, bicubic: Bicubic) -> None:
        super().__init__()
        self.scale = bicubic.scale
        self.register_buffer("kernel", bicubic.kernel)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Float (N, C, H, W) to float (N, C, scale·H, scale·W)."""
        n, c, h, w = x_NCHW.shape
        padded = x_NCHW.index_select(2, _mirrored(h)).index_select(3, _mirrored(w))
        phases = nn.functional.conv2d(padded.reshape(n * c, 1, h + 4, w + 4), self.kernel)
        return nn.functional.pixel_shuffle(phases, self.scale).reshape(n, c, h * self.scale, w * self.scale)


def _mirrored(size: int) -> Tensor:
    """Positions -2 … size+1 folded into 0 … size-1, the edge sample repeated; right for a size of 1 too."""
    position = torch.arange(-2, size + 2)
    position = torch.where(position < 0, -1 - position, position)
    return torch.where(position >= size, 2 * size - 1 - position, position).clamp(min=0)


def export(checkpoint: Checkpoint, out: Path) -> float:
    """Write the version's network to `out`; the largest difference from torch's result, of samples in [0, 1].

    Its input `lr` is float32 (N, C, H, W) in [0, 1], its output `sr` (N, C, scale·H, scale·W), not clipped: RGB, or BT.601
    luma alone for a luma network. All of N, H and W are free. The file's metadata says the same.
    Raises ExportError, and leaves what was at `out`; sr_models.checkpoint.CheckpointError for damaged weights.
    """
    network = load(checkpoint)
    with _moved_when_whole(out) as unfinished:
        _write(network, checkpoint.manifest, unfinished)
        difference = _difference(network, checkpoint.manifest, unfinished)
        if not difference < TOLERANCE:
            raise ExportError(
                f"{checkpoint.manifest.label} as ONNX differs from torch by {difference:.2g}, more than {TOLERANCE}"
            )
    return difference


@contextmanager
def _moved_when_whole(out: Path) -> Iterator[Path]:
    try:
        handle, name = tempfile.mkstemp(prefix=f".{out.name}.", suffix=".onnx", dir=out.parent)
        os.close(handle)
    except OSError as error:
        raise ExportError(f"{out} cannot be written: {error.strerror}") from error
    unfinished = Path(name)
    try:
        yield unfinished
        unfinished.chmod(0o644)
        unfinished.replace(out)
    except OSError as error:
        raise ExportError(f"{out} cannot be written: {error.strerror or error}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def _write(network: nn.Module, manifest: Manifest, path: Path) -> None:
    example_NCHW = torch.rand(2, _channels(manifest), 21, 26)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's exporter uses what torch deprecates
            program = torch.onnx.export(
                _exportable(copy.deepcopy(network)).eval(),
                (example_NCHW,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: "batch", 2: "height", 3: "width"},),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise ExportError(
            f"{manifest.label} cannot be expressed in ONNX: {str(error).splitlines()[0]}"
        ) from error
    assert program is not None
    program.model.metadata_props.update(_metadata(manifest))
    program.save(path)


def _exportable(module: nn.Module) -> nn.Module:
    if isinstance(module, Bicubic):
        return ExportableBicubic(module)
    for name, child in module.named_children():
        setattr(module, name, _exportable(child))
    return module


def _channels(manifest: Manifest) -> int:
    return 1 if manifest.colour == "luma" else 3


def _metadata(manifest: Manifest) -> dict[str, str]:
    colour = "BT.601 luma in [16, 235]/255" if manifest.colour == "luma" else "RGB in [0, 1]"
    return {
        "checkpoint": manifest.label,
        "weights_sha256": manifest.weights_sha256,
        "licence": manifest.licence,
        "scale": str(manifest.scale),
        "halo_px": str(manifest.halo_px),
        "input": f"{INPUT}: float32 (batch, {_channels(manifest)}, height, width), {colour}",
        "output": f"{OUTPUT}: the same, {manifest.scale} times as high and wide, not clipped",
    }


def _difference(network: nn.Module, manifest: Manifest, path: Path) -> float:
    """The largest one over several sizes; not a number where ONNX's result has the wrong shape."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    largest = 0.0
    for n, h, w in CHECKED_SHAPES:
        lr_NCHW = torch.rand(n, _channels(manifest), h, w, generator=generator)
        with torch.inference_mode():
            expected = network(lr_NCHW).numpy()
        [result] = session.run([OUTPUT], {INPUT: lr_NCHW.numpy()})
        if result.shape != expected.shape:
            return float("nan")
        largest = max(largest, float(np.abs(result - expected).max()))
    return largest
