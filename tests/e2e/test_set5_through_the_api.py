"""What a client gets through the API scores what the manifest states, and above bicubic."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sr_models.manifest import CheckpointFolder, default_checkpoint_folder
from tests.pictures import encoded
from tests.stack import running_stack
from training.dataset import read_pairs
from training.scores import luma, psnr_db, without_border

FOLDER = os.environ.get("ENLARGER_BENCHMARKS")


@pytest.mark.benchmarks
@pytest.mark.timeout(600)
@pytest.mark.skipif(not FOLDER, reason="ENLARGER_BENCHMARKS names no folder with Set5, Set14 and B100")
def test_set5_through_the_api(tmp_path: Path) -> None:
    folder = CheckpointFolder(default_checkpoint_folder())
    with running_stack(tmp_path / "data") as stack:
        for scale in (2, 3, 4):
            pairs = read_pairs(Path(FOLDER or "") / "Set5", scale)
            for model in ("espcn", "bicubic"):
                jobs = [
                    stack.post(encoded(Image.fromarray(pair.lr), "PNG"), scale=scale, model=model)
                    for pair in pairs
                ]
                results = [np.asarray(Image.open(io.BytesIO(stack.result(job)))) for job in jobs]
                psnrs = [
                    psnr_db(
                        without_border(luma(sr), scale),
                        without_border(luma(pair.hr), scale),
                    )
                    for sr, pair in zip(results, pairs, strict=True)
                ]
                stated = folder.find(model, scale).manifest.psnr_db("Set5")
                assert np.mean(psnrs) == pytest.approx(stated, abs=0.002)
            baseline = folder.find("bicubic", scale).manifest.psnr_db("Set5") or 0.0
            assert (folder.find("espcn", scale).manifest.psnr_db("Set5") or 0.0) > baseline + 1.0
