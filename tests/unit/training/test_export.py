import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner

from sr_models.bicubic import Bicubic
from sr_models.catalog import build
from sr_models.checkpoint import load, write
from sr_models.manifest import MANIFEST_FILE, Checkpoint
from tests.tiny_checkpoints import publish
from training import export as exporting
from training.export import ExportableBicubic, ExportError, export
from training.export_command import export_command
from training.release import bicubic_manifest

SMALL = {"blocks": 2, "features": 8}


def published(folder: Path, architecture: str, scale: int) -> Checkpoint:
    """A version with random weights everywhere, so that no layer starts without effect."""
    if architecture in ("espcn", "bicubic"):
        return publish(folder, architecture, scale)
    hyperparameters = {"scale": scale, **SMALL}
    network = build(architecture, hyperparameters)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    place = folder / f"{architecture}-x{scale}" / "1"
    place.mkdir(parents=True)
    sha256, size_bytes = write(place, network, torch.float16)
    manifest = replace(
        bicubic_manifest(scale),
        family=architecture,
        architecture=architecture,
        hyperparameters=hyperparameters,
        version=1,
        weights_sha256=sha256,
        weights_bytes=size_bytes,
    )
    (place / MANIFEST_FILE).write_text(manifest.to_json(), "utf-8")
    return Checkpoint(manifest, place)


@pytest.mark.parametrize(
    ("architecture", "scale"),
    [("espcn", 3), ("bicubic", 2), ("edsr", 4), ("srresnet", 3), ("srgan-bottleneck", 2)],
)
def test_the_model_computes_what_torch_does_at_any_size(
    architecture: str, scale: int, tmp_path: Path
) -> None:
    checkpoint = published(tmp_path, architecture, scale)
    out = tmp_path / "model.onnx"
    assert export(checkpoint, out) < 1e-4
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    network, channels = load(checkpoint), 1 if architecture == "espcn" else 3
    for n, h, w in ((3, 40, 24), (1, 2, 2), (1, 1, 1)):
        lr = torch.rand(n, channels, h, w)
        with torch.inference_mode():
            expected = network(lr).numpy()
        [result] = session.run(["sr"], {"lr": lr.numpy()})
        np.testing.assert_allclose(result, expected, atol=1e-5)


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    checkpoint = published(tmp_path, "espcn", 2)
    export(checkpoint, tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [opset.version for opset in model.opset_import if opset.domain == ""] == [18]
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["checkpoint"] == "espcn-x2@1"
    assert metadata["weights_sha256"] == checkpoint.manifest.weights_sha256
    assert metadata["input"] == "lr: float32 (batch, 1, height, width), BT.601 luma in [16, 235]/255"


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_the_other_way_to_write_bicubic_is_equal(size: int) -> None:
    bicubic = Bicubic(3)
    picture = torch.rand(2, 3, size, 5)
    assert torch.equal(ExportableBicubic(bicubic)(picture), bicubic(picture))


def test_a_model_that_computes_something_else_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model.onnx"
    out.write_bytes(b"an earlier one")
    monkeypatch.setattr(exporting, "_mirrored", lambda size: torch.arange(-2, size + 2).clamp(0, size - 1))
    with pytest.raises(ExportError, match=r"bicubic-x2@1 as ONNX differs from torch by 0\.\d+"):
        export(published(tmp_path, "bicubic", 2), out)
    assert out.read_bytes() == b"an earlier one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bicubic-x2", "model.onnx"]


def test_the_command(tmp_path: Path) -> None:
    published(tmp_path, "bicubic", 2)
    out = tmp_path / "model.onnx"
    where = ["--checkpoints", str(tmp_path), "--out", str(out)]
    result = CliRunner().invoke(export_command, ["bicubic-x2", *where], catch_exceptions=False)
    assert result.output.startswith(f"bicubic-x2@1 in {out}, opset 18: differs from torch by at most ")
    assert out.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["espcn-x3", "--out", "model.onnx"], "no model 'espcn-x3' is published"),
        (["espcn-x2@2", "--out", "model.onnx"], "espcn-x2@2 is not published"),
        (["espcn-x2", "--out", "missing/model.onnx"], "cannot be written: No such file or directory"),
        (["espcn-x2@1", "--out", "model.onnx"], "has 9 bytes"),
    ],
)
def test_a_mistake_is_answered_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = published(tmp_path, "espcn", 2)
    if message == "has 9 bytes":
        os.truncate(checkpoint.weights_path, 9)
    result = CliRunner().invoke(export_command, [*arguments, "--checkpoints", "."])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    assert message in result.output
    assert not (tmp_path / "model.onnx").exists()
