"""Tiles make up the whole: every pixel once, and the same numbers as without tiles."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sr_models.bicubic import Bicubic
from sr_models.espcn import ESPCN
from sr_models.manifest import Checkpoint, CheckpointFolder, default_checkpoint_folder
from sr_models.tiling import WHOLE_UP_TO, spans, windows
from sr_models.upscaler import LumaNetwork, Upscaler
from tests.tiny_checkpoints import publish

sizes = st.integers(1, 200)
halos = st.integers(0, 12)


@given(height=sizes, width=sizes, halo_px=halos, extra_px=st.integers(1, 40))
def test_cores_cover_every_pixel_once(height: int, width: int, halo_px: int, extra_px: int) -> None:
    tile_px = 2 * halo_px + extra_px
    covered = np.zeros((height, width), np.int64)
    plan = windows(height, width, tile_px, halo_px)
    for window in plan:
        rows, columns = window.rows, window.columns
        covered[rows.core_start : rows.core_stop, columns.core_start : columns.core_stop] += 1
    assert (covered == 1).all()
    assert len({window.shape for window in plan}) == 1
    for side, size in zip(plan[0].shape, (height, width), strict=True):
        assert side == size if size <= tile_px * WHOLE_UP_TO else side <= tile_px


@given(size=st.integers(1, 5000), halo_px=halos, extra_px=st.integers(1, 300))
def test_no_more_windows_than_full_tiles_would_need_and_none_larger_than_that(
    size: int, halo_px: int, extra_px: int
) -> None:
    tile_px = 2 * halo_px + extra_px
    plan = spans(size, tile_px, halo_px)
    if size <= tile_px * WHOLE_UP_TO:
        assert len(plan) == 1
        return
    assert len(plan) == -(-(size - 2 * halo_px) // extra_px)
    spare_px = len(plan) * (plan[0].stop - plan[0].start - 2 * halo_px) - (size - 2 * halo_px)
    assert 0 <= spare_px < 8 * len(plan)


@given(height=sizes, width=sizes, halo_px=halos, extra_px=st.integers(1, 40))
def test_windows_lie_inside_with_their_halo(height: int, width: int, halo_px: int, extra_px: int) -> None:
    for window in windows(height, width, 2 * halo_px + extra_px, halo_px):
        for span, size in ((window.rows, height), (window.columns, width)):
            assert 0 <= span.start <= span.core_start < span.core_stop <= span.stop <= size
            assert span.start == 0 or span.core_start - span.start >= halo_px
            assert span.stop == size or span.stop - span.core_stop >= halo_px


def test_a_tile_that_is_all_halo_is_refused() -> None:
    with pytest.raises(ValueError, match="larger tile"):
        windows(100, 100, 8, 4)


def tiled(network: nn.Module, radius_px: int, x_NCHW: torch.Tensor, scale: int, tile_px: int) -> torch.Tensor:
    n, c, height, width = x_NCHW.shape
    whole = torch.full((n, c, height * scale, width * scale), torch.nan, dtype=x_NCHW.dtype)
    for window in windows(height, width, tile_px, radius_px):
        r, q = window.rows, window.columns
        part = network(x_NCHW[:, :, r.start : r.stop, q.start : q.stop])
        top, left = (r.core_start - r.start) * scale, (q.core_start - q.start) * scale
        core_height, core_width = (r.core_stop - r.core_start) * scale, (q.core_stop - q.core_start) * scale
        whole[
            :, :, r.core_start * scale : r.core_stop * scale, q.core_start * scale : q.core_stop * scale
        ] = part[:, :, top : top + core_height, left : left + core_width]
    return whole


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    scale=st.sampled_from([2, 3, 4]),
    seed=st.integers(0, 1000),
)
def test_tiled_equals_untiled(
    dtype: torch.dtype, tolerance: float, height: int, width: int, scale: int, seed: int
) -> None:
    torch.manual_seed(seed)
    x_NCHW = torch.rand(1, 3, height, width, dtype=dtype)
    with torch.inference_mode():
        for network, radius_px in (
            (LumaNetwork(ESPCN(scale), scale).to(dtype), ESPCN.receptive_radius_px),
            (Bicubic(scale).to(dtype), Bicubic.receptive_radius_px),
        ):
            parts = tiled(network, radius_px, x_NCHW, scale, tile_px=2 * radius_px + 11)
            assert (parts - network(x_NCHW)).abs().max() <= tolerance


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), seed=st.integers(0, 1000))
def test_stored_samples_differ_by_a_rounding_at_most(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, seed: int
) -> None:
    upscaler = Upscaler.from_checkpoint(publish(Path(tmp_path_factory.mktemp("checkpoints"))))
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    by_tiles = upscaler.upscale(picture, tile_px=32).astype(np.int16)
    whole = upscaler.upscale(picture, tile_px=128).astype(np.int16)
    assert np.abs(by_tiles - whole).max() <= 1


@pytest.mark.parametrize("threads", [1, 2])
@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 12) | st.integers(1, 128),
    width=st.integers(1, 12) | st.integers(1, 128),
    count=st.integers(2, 6),
    model=st.sampled_from(CheckpointFolder(default_checkpoint_folder()).production()),
)
def test_what_a_window_becomes_does_not_depend_on_the_others(
    threads: int, height: int, width: int, count: int, model: Checkpoint
) -> None:
    upscaler = Upscaler.from_checkpoint(model)
    windows_NHWC = np.random.default_rng(height * width).integers(0, 256, (count, height, width, 3), np.uint8)
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        alone = np.concatenate([upscaler.enlarge(windows_NHWC[i : i + 1]) for i in range(count)])
        assert np.array_equal(upscaler.enlarge(windows_NHWC), alone)
    finally:
        torch.set_num_threads(threads_before)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("family", ["espcn", "bicubic"])
def test_the_result_is_exactly_scale_times_as_large(tmp_path: Path, family: str, scale: int) -> None:
    upscaler = Upscaler.from_checkpoint(publish(tmp_path, family, scale))
    picture = np.random.default_rng(scale).integers(0, 256, (70, 70, 3), np.uint8)
    for height in range(1, 71):
        for width in range(1, 71):
            result = upscaler.upscale(picture[:height, :width], tile_px=48)
            assert result.shape == (height * scale, width * scale, 3)
