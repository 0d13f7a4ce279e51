"""Many pictures on one device: shared passes, errors kept to their cause, cancelling."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from sr_models.upscaler import UInt8Array, Upscaler
from tests.tiny_checkpoints import publish
from worker.engine import Engine
from worker.errors import CanceledError, DeviceMemoryError

POISON = 77


class WatchedUpscaler(Upscaler):
    """Notes the size of each pass, waits for its gate, and chokes on a poisonous sample."""

    def __init__(self, upscaler: Upscaler) -> None:
        self.__dict__.update(upscaler.__dict__)
        self.passes: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def enlarge(self, lr_NHWC: UInt8Array) -> UInt8Array:
        self.gate.wait(20)
        self.passes.append(len(lr_NHWC))
        if (lr_NHWC[:, 0, 0, 0] == POISON).any():
            raise RuntimeError("poison")
        return super().enlarge(lr_NHWC)


@pytest.fixture
def upscaler(tmp_path: Path) -> WatchedUpscaler:
    return WatchedUpscaler(Upscaler.from_checkpoint(publish(tmp_path)))


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(tile_px=32, batch_px=4 * 32 * 32)
    yield engine
    engine.close()


def picture(seed: int, height: int = 32, width: int = 32) -> UInt8Array:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    pixels[0, 0, 0] = 0
    return pixels


def test_pictures_of_several_callers_share_passes(engine: Engine, upscaler: WatchedUpscaler) -> None:
    upscaler.gate.clear()
    futures = [engine.submit(upscaler, [picture(seed)]) for seed in range(9)]
    upscaler.gate.set()
    results = [future.result(20)[0] for future in futures]
    assert sum(upscaler.passes) == 9
    assert max(upscaler.passes) == 4
    for seed, result in enumerate(results):
        alone = Upscaler.enlarge(upscaler, picture(seed)[None])[0]
        assert np.array_equal(result, alone)


def test_the_result_is_the_same_in_any_company(engine: Engine, upscaler: WatchedUpscaler) -> None:
    mine = picture(1, 50, 70)
    alone = engine.submit(upscaler, [mine]).result(20)[0]
    upscaler.gate.clear()
    others = [engine.submit(upscaler, [picture(seed, 40 + seed, 90)]) for seed in range(5)]
    crowded = engine.submit(upscaler, [mine])
    upscaler.gate.set()
    for other in others:
        other.result(20)
    assert np.array_equal(crowded.result(20)[0], alone)


def test_one_bad_picture_fails_alone(engine: Engine, upscaler: WatchedUpscaler) -> None:
    bad = picture(0)
    bad[0, 0, 0] = POISON
    upscaler.gate.clear()
    futures = [
        engine.submit(upscaler, [picture(1)]),
        engine.submit(upscaler, [bad]),
        engine.submit(upscaler, [picture(2)]),
    ]
    upscaler.gate.set()
    assert futures[0].result(20)[0].shape == (64, 64, 3)
    assert futures[2].result(20)[0].shape == (64, 64, 3)
    with pytest.raises(RuntimeError, match="poison"):
        futures[1].result(20)
    assert engine.submit(upscaler, [picture(3)]).result(20)[0].shape == (64, 64, 3)


class SmallMemory(WatchedUpscaler):
    """Has room for two windows at most, or for none."""

    room = 2

    def enlarge(self, lr_NHWC: UInt8Array) -> UInt8Array:
        if len(lr_NHWC) > self.room:
            self.passes.append(-len(lr_NHWC))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().enlarge(lr_NHWC)


def test_a_full_memory_halves_this_pass_and_later_ones(engine: Engine, upscaler: WatchedUpscaler) -> None:
    small = SmallMemory(upscaler)
    small.gate.clear()
    futures = [engine.submit(small, [picture(seed)]) for seed in range(13)]
    small.gate.set()
    for seed, future in enumerate(futures):
        assert np.array_equal(future.result(20)[0], Upscaler.enlarge(upscaler, picture(seed)[None])[0])
    assert [size for size in small.passes if size < 0] == [-4]
    assert sum(size for size in small.passes if size > 0) == 13


def test_a_tile_that_does_not_fit_alone_fails_with_a_code(engine: Engine, upscaler: WatchedUpscaler) -> None:
    tiny = SmallMemory(upscaler)
    tiny.room = 0
    with pytest.raises(DeviceMemoryError, match="ENLARGER_TILE_PX"):
        engine.submit(tiny, [picture(0)]).result(20)
    assert engine.submit(upscaler, [picture(0)]).result(20)[0].shape == (64, 64, 3)


def test_a_canceled_picture_runs_no_further_tile(engine: Engine, upscaler: WatchedUpscaler) -> None:
    canceled = threading.Event()
    upscaler.gate.clear()
    future = engine.submit(upscaler, [picture(0, 300, 300)], canceled=canceled.is_set)
    canceled.set()
    upscaler.gate.set()
    with pytest.raises(CanceledError):
        future.result(20)
    assert sum(upscaler.passes) <= 8


def test_progress_grows_to_one(engine: Engine, upscaler: WatchedUpscaler) -> None:
    seen: list[float] = []
    engine.submit(upscaler, [picture(0, 100, 80), picture(1, 100, 80)], on_progress=seen.append).result(20)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) > 4


def test_all_planes_of_a_picture_are_enlarged(engine: Engine, upscaler: WatchedUpscaler) -> None:
    planes = engine.submit(upscaler, [picture(0, 40, 33), picture(1, 40, 33)]).result(20)
    assert [plane.shape for plane in planes] == [(80, 66, 3)] * 2


def test_a_closed_engine_has_finished_and_takes_no_more(upscaler: WatchedUpscaler) -> None:
    engine = Engine(tile_px=32, batch_px=32 * 32)
    future = engine.submit(upscaler, [picture(0, 200, 200)])
    engine.close()
    assert future.done()
    with pytest.raises(RuntimeError, match="closed"):
        engine.submit(upscaler, [picture(0)])
