"""The protocol and the published scores, on the real benchmark sets."""

import os
from pathlib import Path

import pytest

from sr_models.manifest import Checkpoint, CheckpointFolder, default_checkpoint_folder
from sr_models.upscaler import Upscaler
from training.dataset import read_pairs
from training.evaluate import score

FOLDER = os.environ.get("ENLARGER_BENCHMARKS")

pytestmark = [
    pytest.mark.benchmarks,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not FOLDER, reason="ENLARGER_BENCHMARKS names no folder with Set5, Set14 and B100"),
]

# The field's tables, as MATLAB's imresize makes them: (set, scale) to dB.
BICUBIC_DB = {
    ("Set5", 2): 33.68,
    ("Set5", 3): 30.41,
    ("Set5", 4): 28.43,
    ("B100", 2): 29.56,
    ("B100", 3): 27.21,
    ("B100", 4): 25.96,
}


def production() -> list[Checkpoint]:
    return CheckpointFolder(default_checkpoint_folder()).production()


@pytest.mark.parametrize(("benchmark", "scale"), sorted(BICUBIC_DB))
def test_the_bicubic_row_of_the_literature(benchmark: str, scale: int) -> None:
    checkpoint = CheckpointFolder(default_checkpoint_folder()).find("bicubic", scale)
    measured = score(
        Upscaler.from_checkpoint(checkpoint), read_pairs(Path(FOLDER or "") / benchmark, scale), benchmark
    )
    assert measured.psnr_db == pytest.approx(BICUBIC_DB[benchmark, scale], abs=0.02)


@pytest.mark.parametrize("checkpoint", production(), ids=lambda checkpoint: checkpoint.manifest.label)
def test_a_manifest_states_what_is_measured(checkpoint: Checkpoint) -> None:
    upscaler = Upscaler.from_checkpoint(checkpoint)
    measured = score(upscaler, read_pairs(Path(FOLDER or "") / "Set5", upscaler.scale), "Set5")
    stated = next(s for s in checkpoint.manifest.scores if s.benchmark == "Set5")
    assert measured.psnr_db == pytest.approx(stated.psnr_db, abs=0.002)
    assert measured.ssim == pytest.approx(stated.ssim, abs=1e-4)
