"""Every published network that is in production or its name's newest: exact by tiles, and the same in any company."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sr_models.checkpoint import load
from sr_models.manifest import Checkpoint, CheckpointFolder, default_checkpoint_folder
from sr_models.samples import StoredSamples
from sr_models.tiling import windows
from sr_models.upscaler import LumaNetwork, Upscaler
from tests.pictures import PHOTOGRAPHS, natural_picture
from tests.property.test_tiling import tiled
from worker.device import Precision, choose_dtype
from worker.engine import Engine

CORE_PX = 32
"""Kept of a tile."""

SERVED_AS = list(dict.fromkeys([torch.float32, choose_dtype(Precision.AUTO, "cpu")]))
"""What a worker computes in on this machine, and what it can be told to."""


def served_or_newest() -> list[Checkpoint]:
    folder = CheckpointFolder(default_checkpoint_folder())
    newest = [folder.version(name, versions[-1]) for name, versions in folder.versions().items()]
    return list({c.manifest.label: c for c in [*folder.production(), *newest]}.values())


@pytest.fixture(
    scope="module", params=served_or_newest(), ids=lambda checkpoint: str(checkpoint.manifest.label)
)
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    assert isinstance(request.param, Checkpoint)
    return request.param


class Watched(Upscaler):
    """Notes how many windows each pass has."""

    passes: list[int]

    def enlarge(self, lr_NHWC: StoredSamples, *options: Any, **named: Any) -> StoredSamples:
        self.passes.append(len(lr_NHWC))
        return super().enlarge(lr_NHWC, *options, **named)


def watched(checkpoint: Checkpoint, dtype: torch.dtype = torch.float32) -> Watched:
    upscaler = Watched.from_checkpoint(checkpoint, dtype=dtype)
    upscaler.passes = []
    return upscaler


def photograph(height: int, width: int, left: int = 60) -> StoredSamples:
    with Image.open(PHOTOGRAPHS / "astronaut.png") as image:
        return np.array(image.convert("RGB"))[80 : 80 + height, left : left + width]


def natural(height: int, width: int, seed: int) -> StoredSamples:
    return np.array(natural_picture(width, height, seed))


@pytest.mark.parametrize("upright", [False, True], ids=["across", "upright"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=str)
@torch.inference_mode()
def test_tiles_with_the_whole_receptive_field_are_exact(
    checkpoint: Checkpoint, dtype: torch.dtype, tolerance: float, upright: bool
) -> None:
    manifest, network = checkpoint.manifest, load(checkpoint)
    if manifest.colour == "luma":
        network = LumaNetwork(network, manifest.scale)
    network = network.to(dtype)
    radius_px = manifest.receptive_radius_px
    # A narrow strip, so that it costs little, and so long that it is cut into three or four.
    strip_HWC = torch.from_numpy(natural(4, 3 * radius_px + 88, seed=1)).to(dtype) / 255
    x_NCHW = strip_HWC.permute(2, 1, 0)[None] if upright else strip_HWC.permute(2, 0, 1)[None]
    height, width = x_NCHW.shape[2:]
    whole_NCHW = network(x_NCHW)

    def furthest(halo_px: int) -> float:
        tile_px = 2 * halo_px + CORE_PX
        assert len(windows(height, width, tile_px, halo_px)) >= 3
        parts_NCHW = tiled(network, halo_px, x_NCHW, manifest.scale, tile_px)
        return float((parts_NCHW - whole_NCHW).abs().max())

    assert furthest(radius_px) <= tolerance
    if dtype == torch.float64:  # half of it is not enough, or the above would say nothing
        assert furthest(radius_px // 2) > tolerance


def test_tiles_with_the_measured_halo_differ_by_one_level_at_most(checkpoint: Checkpoint) -> None:
    upscaler = watched(checkpoint)
    height = 3 * checkpoint.manifest.halo_px + 52
    picture = photograph(height, height + 32)
    by_tiles = upscaler.upscale(picture, tile_px=CORE_PX).astype(np.int16)
    assert len(upscaler.passes) >= 4
    whole = upscaler.enlarge(picture[None])[0]
    assert np.abs(by_tiles - whole).max() <= 1


@pytest.mark.parametrize("dtype", SERVED_AS, ids=str)
@pytest.mark.parametrize(("height", "width"), [(32, 36), (17, 20)])
def test_a_window_is_the_same_in_every_batch(
    checkpoint: Checkpoint, height: int, width: int, dtype: torch.dtype
) -> None:
    upscaler = watched(checkpoint, dtype)
    mine = photograph(height, width)
    alone = upscaler.enlarge(mine[None])[0]
    for count in (2, 3, 5, 8):
        batch = np.stack([natural(height, width, seed) for seed in range(count)])
        place = count // 2
        batch[place] = mine
        assert np.array_equal(upscaler.enlarge(batch)[place], alone)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(tile_px=48, batch_px=4 * 48 * 48)
    yield engine
    engine.close()


@pytest.mark.parametrize("dtype", SERVED_AS, ids=str)
def test_a_picture_is_the_same_with_others_in_flight(
    engine: Engine, checkpoint: Checkpoint, dtype: torch.dtype
) -> None:
    upscaler = watched(checkpoint, dtype)
    mine = photograph(36, 76)
    alone = engine.submit(upscaler, [mine]).result(60)[0]
    upscaler.passes.clear()
    gate = threading.Event()

    def hold(share: float) -> None:
        gate.wait(60)

    first = engine.submit(upscaler, [natural(8, 8, 0)], on_progress=hold)
    sizes = [(36, 76), (36, 40), (36, 76), (50, 30)]
    others = [engine.submit(upscaler, [natural(*size, seed)]) for seed, size in enumerate(sizes)]
    crowded = engine.submit(upscaler, [mine])
    gate.set()
    for other in (first, *others):
        other.result(60)
    assert np.array_equal(crowded.result(60)[0], alone)
    assert max(upscaler.passes) > 1
