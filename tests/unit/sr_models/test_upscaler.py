from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sr_models.bicubic import Bicubic
from sr_models.checkpoint import load
from sr_models.espcn import ESPCN
from sr_models.samples import StoredSamples
from sr_models.upscaler import LumaNetwork, NotFiniteError, Upscaler
from tests.tiny_checkpoints import publish


@pytest.mark.parametrize("halo_px", [63, 64, 100])
def test_a_wide_halo_gets_larger_tiles(halo_px: int, tmp_path: Path) -> None:
    checkpoint = publish(tmp_path, "bicubic")
    wide = Upscaler(load(checkpoint), replace(checkpoint.manifest, halo_px=halo_px))
    picture = np.random.default_rng(0).integers(0, 256, (350, 40, 3), dtype=np.uint8)
    assert len(wide.windows(350, 40, 128)) > 1
    np.testing.assert_array_equal(wide.upscale(picture), wide.enlarge(picture[None])[0])


def test_a_luma_network_enlarges_grey_to_grey() -> None:
    torch.manual_seed(0)
    grey = torch.rand(1, 1, 6, 7).expand(1, 3, 6, 7)
    with torch.inference_mode():
        sr = LumaNetwork(ESPCN(2), 2)(grey)
    torch.testing.assert_close(sr[:, :1].expand_as(sr), sr, rtol=0, atol=1e-5)


class Overflowing(nn.Module):
    """Bicubic that float16 cannot hold where the picture is bright: its numbers end at 65,504."""

    def __init__(self) -> None:
        super().__init__()
        self.bicubic = Bicubic(2)

    def forward(self, rgb_NCHW: Tensor) -> Tensor:
        enlarged: Tensor = self.bicubic(rgb_NCHW * 1e5)
        return enlarged / 1e5


def windows(*brightness: int) -> StoredSamples:
    noise = np.random.default_rng(0).integers(0, 40, (len(brightness), 40, 40, 3), np.uint8)
    return noise + np.array(brightness, np.uint8)[:, None, None, None]


def test_what_overflows_is_made_again_in_float32(tmp_path: Path) -> None:
    manifest = publish(tmp_path, "bicubic").manifest
    half = Upscaler(Overflowing(), manifest, dtype=torch.float16)
    exact = Upscaler(Overflowing(), manifest)
    batch = windows(10, 200, 10, 210)
    made = half.enlarge(batch)
    assert half.retried_in_float32 == 2
    np.testing.assert_array_equal(made[1::2], exact.enlarge(batch)[1::2])
    np.testing.assert_allclose(made[::2].astype(int), exact.enlarge(batch)[::2], atol=1)
    assert exact.retried_in_float32 == 0


class Broken(nn.Module):
    """No numbers where the picture is dark."""

    def forward(self, rgb_NCHW: Tensor) -> Tensor:
        return (rgb_NCHW.amin() - 0.5).sqrt() * rgb_NCHW.repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_samples_that_are_no_numbers_are_never_returned(tmp_path: Path) -> None:
    upscaler = Upscaler(Broken(), publish(tmp_path, "bicubic").manifest)
    assert upscaler.enlarge(windows(200)).shape == (1, 80, 80, 3)
    with pytest.raises(NotFiniteError, match="bicubic-x2@1 made samples that are no numbers"):
        upscaler.enlarge(windows(10))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sixteen_bits_stay_sixteen_whatever_the_precision(tmp_path: Path, dtype: torch.dtype) -> None:
    upscaler = Upscaler(Bicubic(2), publish(tmp_path, "bicubic").manifest, dtype=dtype)
    dark = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint16)  # black, for 8 bits
    rgb_NCHW = torch.from_numpy(dark.astype(np.float64)).permute(2, 0, 1)[None]
    expected = Bicubic(2).double()(rgb_NCHW)[0].permute(1, 2, 0).clamp(0, 65535).round().numpy()
    made = upscaler.upscale(dark)
    assert made.dtype == np.uint16
    assert np.abs(made.astype(int) - expected.astype(int)).max() <= 1
