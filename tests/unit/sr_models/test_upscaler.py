from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sr_models.checkpoint import load
from sr_models.espcn import ESPCN
from sr_models.upscaler import LumaNetwork, Upscaler
from tests.tiny_checkpoints import publish


@pytest.mark.parametrize("halo_px", [63, 64, 100])
def test_a_wide_halo_gets_larger_tiles(halo_px: int, tmp_path: Path) -> None:
    checkpoint = publish(tmp_path, "bicubic")
    wide = Upscaler(load(checkpoint), replace(checkpoint.manifest, halo_px=halo_px))
    picture = np.random.default_rng(0).integers(0, 256, (250, 40, 3), dtype=np.uint8)
    assert len(wide.windows(250, 40, 128)) > 1
    np.testing.assert_array_equal(wide.upscale(picture), wide.enlarge(picture[None])[0])


def test_a_luma_network_enlarges_grey_to_grey() -> None:
    torch.manual_seed(0)
    grey = torch.rand(1, 1, 6, 7).expand(1, 3, 6, 7)
    with torch.inference_mode():
        sr = LumaNetwork(ESPCN(2), 2)(grey)
    torch.testing.assert_close(sr[:, :1].expand_as(sr), sr, rtol=0, atol=1e-5)
