from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sr_models.manifest import Manifest
from sr_models.upscaler import Upscaler
from tests.unit.training.conftest import soft_noise
from training.halo import halo_px, measured_halo_px
from training.release import bicubic_manifest

RADIUS_PX = 24


class Echo(nn.Module):
    """The picture itself twice as large, and a fifth of what lies `distance_px` to the right and left of each pixel."""

    def __init__(self, distance_px: int) -> None:
        super().__init__()
        self.distance_px = distance_px

    def forward(self, x_NCHW: Tensor) -> Tensor:
        left = nn.functional.pad(x_NCHW, (self.distance_px, 0, 0, 0))[..., : x_NCHW.shape[-1]]
        right = nn.functional.pad(x_NCHW, (0, self.distance_px, 0, 0))[..., self.distance_px :]
        mixed = 0.6 * x_NCHW + 0.2 * left + 0.2 * right
        return mixed.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def upscaler(distance_px: int) -> Upscaler:
    manifest: Manifest = replace(bicubic_manifest(2), receptive_radius_px=RADIUS_PX, halo_px=RADIUS_PX)
    return Upscaler(Echo(distance_px), manifest)


@pytest.mark.parametrize(("distance_px", "halo"), [(3, 4), (4, 4), (5, 8), (11, 12), (20, 20), (24, 24)])
def test_it_is_the_next_multiple_that_holds_all_that_matters(distance_px: int, halo: int) -> None:
    pictures = [soft_noise(seed, 90, 110) for seed in range(2)]
    assert measured_halo_px(upscaler(distance_px), pictures) == halo


def test_what_is_too_small_to_be_cut_proves_nothing() -> None:
    small = soft_noise(0, 30, 30)
    assert measured_halo_px(upscaler(0), [small]) == 4
    assert measured_halo_px(upscaler(18), [small]) == RADIUS_PX
    assert measured_halo_px(upscaler(0), [soft_noise(0, 8, 8)]) == RADIUS_PX


def test_a_network_that_sees_little_gets_its_whole_radius(benchmarks: Path) -> None:
    narrow = upscaler(0)
    narrow.manifest = replace(narrow.manifest, receptive_radius_px=8)
    assert halo_px(narrow, benchmarks) == 8
    assert halo_px(upscaler(0), benchmarks) == 4


def test_tiles_with_it_are_the_whole_but_for_a_level() -> None:
    torch.manual_seed(0)
    picture = soft_noise(3, 90, 110)
    measured = upscaler(7)
    measured.manifest = replace(measured.manifest, halo_px=measured_halo_px(measured, [picture]))
    tiled, whole = measured.upscale(picture, 40), measured.upscale(picture, 200)
    assert np.abs(tiled.astype(int) - whole).max() <= 1
