"""Many pictures on one device: shared passes, errors kept to their cause, cancelling."""

import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sr_models.ensemble import TURNS, turned, turned_back
from sr_models.samples import StoredSamples
from sr_models.upscaler import Upscaler, nothing
from tests.eventually import eventually
from tests.tiny_checkpoints import publish
from worker.engine import LONGEST_WAIT_S, Engine
from worker.errors import CanceledError, DeviceMemoryError

POISON = 77


class WatchedUpscaler(Upscaler):
    """Notes the size of each pass, waits for its gate, and chokes on a poisonous sample."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.passes: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self._turn = threading.Lock()
        self.at_the_gate = 0

    def enlarge(self, lr_NHWC: StoredSamples, between_layers: Callable[[], None] = nothing) -> StoredSamples:
        with self._turn:
            self.at_the_gate += 1
        self.gate.wait(20)
        with self._turn:
            self.at_the_gate -= 1
        self.passes.append(len(lr_NHWC))
        if (lr_NHWC[:, 0, 0, 0] == POISON).any():
            raise RuntimeError("poison")
        return super().enlarge(lr_NHWC, between_layers)


@pytest.fixture
def upscaler(tmp_path: Path) -> WatchedUpscaler:
    return WatchedUpscaler.from_checkpoint(publish(tmp_path))


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(tile_px=32, batch_px=4 * 32 * 32)
    yield engine
    engine.close()


@pytest.fixture
def streams() -> Iterator[Engine]:
    """An engine whose passes run side by side."""
    before = torch.get_num_threads()
    engine = Engine(tile_px=32, batch_px=2 * 32 * 32, threads=4)
    yield engine
    engine.close()
    torch.set_num_threads(before)


def picture(seed: int, height: int = 32, width: int = 32) -> StoredSamples:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    pixels[pixels == POISON] = 0
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

    def enlarge(self, lr_NHWC: StoredSamples, between_layers: Callable[[], None] = nothing) -> StoredSamples:
        if len(lr_NHWC) > self.room:
            self.passes.append(-len(lr_NHWC))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().enlarge(lr_NHWC, between_layers)


def test_a_full_memory_halves_this_pass_and_later_ones(engine: Engine, tmp_path: Path) -> None:
    small = SmallMemory.from_checkpoint(publish(tmp_path))
    small.gate.clear()
    futures = [engine.submit(small, [picture(0)])]
    eventually(lambda: small.at_the_gate == 1)  # what follows waits for that pass, and is cut into full ones
    futures += [engine.submit(small, [picture(seed)]) for seed in range(1, 13)]
    small.gate.set()
    for seed, future in enumerate(futures):
        assert np.array_equal(future.result(20)[0], Upscaler.enlarge(small, picture(seed)[None])[0])
    assert [size for size in small.passes if size < 0] == [-4]
    assert sum(size for size in small.passes if size > 0) == 13


def test_a_tile_that_does_not_fit_alone_fails_with_a_code(
    engine: Engine, upscaler: WatchedUpscaler, tmp_path: Path
) -> None:
    tiny = SmallMemory.from_checkpoint(publish(tmp_path / "tiny"))
    tiny.room = 0
    with pytest.raises(DeviceMemoryError, match="ENLARGER_TILE_PX"):
        engine.submit(tiny, [picture(0)]).result(20)
    assert engine.submit(upscaler, [picture(0)]).result(20)[0].shape == (64, 64, 3)


class Hoarder(WatchedUpscaler):
    """Finds no memory for more than one picture, and notes whether the activations of a pass outlive it."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.held: list[weakref.ref[torch.Tensor]] = []
        self.still_held = 0

    def enlarge(self, lr_NHWC: StoredSamples, between_layers: Callable[[], None] = nothing) -> StoredSamples:
        self.still_held += sum(tensor() is not None for tensor in self.held)
        activations = torch.zeros(8)
        if len(lr_NHWC) > 1:
            self.held.append(weakref.ref(activations))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().enlarge(lr_NHWC, between_layers)


def test_a_pass_that_found_no_memory_keeps_none_from_its_halves(engine: Engine, tmp_path: Path) -> None:
    hoarder = Hoarder.from_checkpoint(publish(tmp_path))
    engine.submit(hoarder, [picture(seed) for seed in range(4)]).result(20)
    assert len(hoarder.held) == 1 + 2
    assert hoarder.still_held == 0


class Crowded(WatchedUpscaler):
    """Has memory for one pass at a time."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.inside = 0
        self.refused = 0

    def enlarge(self, lr_NHWC: StoredSamples, between_layers: Callable[[], None] = nothing) -> StoredSamples:
        with self._turn:
            if self.inside:
                self.refused += 1
                raise torch.OutOfMemoryError("CUDA out of memory")
            self.inside += 1
        try:
            eventually(lambda: self.refused or self.gate.is_set())
            return super().enlarge(lr_NHWC, between_layers)
        finally:
            with self._turn:
                self.inside -= 1


def test_a_tile_that_finds_no_memory_beside_another_pass_waits_for_its_end(
    streams: Engine, tmp_path: Path
) -> None:
    crowded = Crowded.from_checkpoint(publish(tmp_path))
    futures = []
    crowded.gate.clear()
    for seed in range(2):
        futures.append(streams.submit(crowded, [picture(seed)]))
        eventually(lambda: crowded.inside)
    eventually(lambda: crowded.refused)
    crowded.gate.set()
    for seed, future in enumerate(futures):
        assert np.array_equal(future.result(20)[0], Upscaler.enlarge(crowded, picture(seed)[None])[0])


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


def test_an_ensemble_is_the_mean_over_eight_sides(engine: Engine, upscaler: WatchedUpscaler) -> None:
    mine = picture(3, 20, 28)
    sides = []
    for turn in TURNS:
        seen = np.ascontiguousarray(turned(mine, turn))
        sides.append(turned_back(upscaler.enlarge_unrounded(seen[None])[0], turn))
    mean = np.mean(np.stack(sides).astype(np.float64), axis=0)
    result = engine.submit(upscaler, [mine], ensemble=True).result(20)[0]
    assert np.abs(result - mean.clip(0, 255)).max() <= 0.51
    assert not np.array_equal(result, engine.submit(upscaler, [mine]).result(20)[0])


def test_sixteen_bits_stay_sixteen_beside_eight(engine: Engine, upscaler: WatchedUpscaler) -> None:
    shallow = picture(3) // 2
    deep = shallow.astype(np.uint16) * 257 + 100
    for ensemble in (False, True):
        futures = [engine.submit(upscaler, [plane], ensemble=ensemble) for plane in (shallow, deep)]
        eight, sixteen = (future.result(20)[0] for future in futures)
        assert [made.dtype.itemsize for made in (eight, sixteen)] == [1, 2]
        inner = (eight > 0) & (eight < 255)
        assert np.abs(sixteen / 257.0 - 100 / 257.0 - eight)[inner].max() <= 1.0
        assert len(np.unique(sixteen % 257)) > 100


def test_an_ensemble_by_tiles_in_company_equals_the_whole_alone(
    engine: Engine, upscaler: WatchedUpscaler
) -> None:
    mine = picture(4, 50, 70)
    whole = Engine(tile_px=128, batch_px=128 * 128)
    expected = whole.submit(upscaler, [mine], ensemble=True).result(20)[0]
    whole.close()
    upscaler.gate.clear()
    shares: list[float] = []
    others = [engine.submit(upscaler, [picture(seed, 40 + seed, 90)]) for seed in range(3)]
    crowded = engine.submit(upscaler, [mine], shares.append, ensemble=True)
    upscaler.gate.set()
    assert np.abs(crowded.result(20)[0].astype(int) - expected).max() <= 1
    for other in others:
        other.result(20)
    tiles = len(upscaler.windows(50, 70, 32))
    assert len(shares) == 8 * tiles
    assert shares == sorted(shares)


def test_a_small_picture_does_not_wait_for_a_huge_one(engine: Engine, upscaler: WatchedUpscaler) -> None:
    upscaler.gate.clear()
    huge = engine.submit(upscaler, [picture(0, 600, 600)])
    small = engine.submit(upscaler, [picture(1)])
    upscaler.gate.set()
    small.result(20)
    assert not huge.done()
    huge.result(60)


class Interrupted(WatchedUpscaler):
    """Does something, once, before the first layer of a pass."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.first: Callable[[], object] | None = None

    def enlarge(self, lr_NHWC: StoredSamples, between_layers: Callable[[], None] = nothing) -> StoredSamples:
        def interrupted() -> None:
            first, self.first = self.first, None
            if first:
                first()
            between_layers()

        return super().enlarge(lr_NHWC, interrupted)


@pytest.mark.parametrize("known", [True, False])
def test_a_pass_of_the_background_gives_way_in_its_midst(engine: Engine, tmp_path: Path, known: bool) -> None:
    """Unless a pass of that model was never measured: that waits until the device is free."""
    upscaler = Interrupted.from_checkpoint(publish(tmp_path))
    other = WatchedUpscaler.from_checkpoint(publish(tmp_path / "other", version=2))
    ended: list[str] = []
    for model in (upscaler, other) if known else (upscaler,):
        engine.submit(model, [picture(9)]).result(20)
    small: list[Future[list[StoredSamples]]] = []
    upscaler.first = lambda: small.append(
        engine.submit(other, [picture(1)], lambda share: ended.append("small"))
    )
    huge = engine.submit(upscaler, [picture(0)], lambda share: ended.append("huge"), background=True)
    assert np.array_equal(huge.result(20)[0], upscaler.enlarge(picture(0)[None])[0])
    assert np.array_equal(small[0].result(20)[0], other.enlarge(picture(1)[None])[0])
    assert ended == (["small", "huge"] if known else ["huge", "small"])


def test_a_pass_may_be_interrupted_by_one_through_the_same_model(engine: Engine, tmp_path: Path) -> None:
    upscaler = Interrupted.from_checkpoint(publish(tmp_path))
    engine.submit(upscaler, [picture(9)]).result(20)
    small: list[Future[list[StoredSamples]]] = []
    upscaler.first = lambda: small.append(engine.submit(upscaler, [picture(1, 40, 44)]))
    huge = engine.submit(upscaler, [picture(0)], background=True).result(20)
    for made, sent in ((huge, picture(0)), (small[0].result(20), picture(1, 40, 44))):
        assert np.array_equal(made[0], upscaler.enlarge(sent[None])[0])


def test_a_pass_of_the_foreground_gives_way_to_none(engine: Engine, tmp_path: Path) -> None:
    upscaler = Interrupted.from_checkpoint(publish(tmp_path))
    engine.submit(upscaler, [picture(9)]).result(20)
    ended: list[str] = []
    upscaler.first = lambda: engine.submit(upscaler, [picture(1)], lambda share: ended.append("second"))
    engine.submit(upscaler, [picture(0)], lambda share: ended.append("first")).result(20)
    eventually(lambda: ended == ["first", "second"])


def test_a_tile_that_cannot_be_placed_fails_its_picture_only(
    engine: Engine, upscaler: WatchedUpscaler
) -> None:
    def choke(share: float) -> None:
        raise ValueError("no more")

    upscaler.gate.clear()
    bad = engine.submit(upscaler, [picture(0, 60, 60)], choke)
    good = engine.submit(upscaler, [picture(1, 60, 60)])
    upscaler.gate.set()
    with pytest.raises(ValueError, match="no more"):
        bad.result(20)
    assert good.result(20)


def test_passes_run_side_by_side(streams: Engine, upscaler: WatchedUpscaler) -> None:
    upscaler.gate.clear()
    futures = [streams.submit(upscaler, [picture(seed)]) for seed in range(8)]
    eventually(lambda: upscaler.at_the_gate == 4)
    upscaler.gate.set()
    for seed, future in enumerate(futures):
        assert np.array_equal(future.result(20)[0], Upscaler.enlarge(upscaler, picture(seed)[None])[0])


@pytest.mark.parametrize("ensemble", [False, True])
def test_the_result_is_the_same_on_however_many_threads(
    streams: Engine, engine: Engine, upscaler: WatchedUpscaler, ensemble: bool
) -> None:
    """Also of an ensemble, whose sides are summed as they come."""
    sent = [picture(seed, 40 + 9 * seed, 130) for seed in range(6)]
    alone = [engine.submit(upscaler, [each], ensemble=ensemble).result(60)[0] for each in sent]
    for _ in range(3):
        shares: list[float] = []
        beside = [
            streams.submit(upscaler, [each], shares.append, ensemble=ensemble, background=n % 2 == 0)
            for n, each in enumerate(sent[1:])
        ]
        first = streams.submit(upscaler, [sent[0]], shares.append, ensemble=ensemble)
        made = [future.result(60)[0] for future in (first, *beside)]
        assert all(np.array_equal(one, other) for one, other in zip(made, alone, strict=True))


def test_progress_never_falls_though_tiles_end_side_by_side(
    streams: Engine, upscaler: WatchedUpscaler
) -> None:
    seen: list[float] = []
    streams.submit(upscaler, [picture(0, 300, 300)], seen.append).result(60)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_a_picture_that_fails_on_several_threads_fails_once(
    streams: Engine, upscaler: WatchedUpscaler
) -> None:
    bad = picture(0, 200, 200)
    bad[:] = POISON
    with pytest.raises(RuntimeError, match="poison"):
        streams.submit(upscaler, [bad]).result(20)
    assert streams.submit(upscaler, [picture(3)]).result(20)[0].shape == (64, 64, 3)


def test_the_background_waits_for_the_foreground_on_another_thread(streams: Engine, tmp_path: Path) -> None:
    """Between two layers, while a pass of the foreground that began elsewhere runs."""
    upscaler = Interrupted.from_checkpoint(publish(tmp_path))
    other = WatchedUpscaler.from_checkpoint(publish(tmp_path / "other", version=2))
    for model in (upscaler, other):
        streams.submit(model, [picture(9)]).result(20)
    other.gate.clear()
    small = streams.submit(other, [picture(1)])
    eventually(lambda: other.at_the_gate == 1)
    huge = streams.submit(upscaler, [picture(0)], background=True)
    with pytest.raises(FutureTimeoutError):
        huge.result(LONGEST_WAIT_S / 2)
    other.gate.set()
    small.result(20)
    assert np.array_equal(huge.result(20)[0], upscaler.enlarge(picture(0)[None])[0])


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
