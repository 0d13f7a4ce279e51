import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from tests.eventually import eventually
from tests.unit.training.conftest import soft_noise
from training.degradation import matlab_bicubic
from training.patches import PatchSampler
from training.photograph import Pair
from training.prefetch import prefetched


def batch_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("batches")]


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    assert batch_threads() == []
    yield
    assert batch_threads() == []


def test_batches_come_in_order_however_long_each_takes() -> None:
    def slow_at_first(step: int) -> int:
        time.sleep(0.02 if step % 3 == 0 else 0.0)
        return step * step

    with prefetched(slow_at_first, 5, 17, workers=4, ahead=6) as batches:
        assert list(batches) == [(step, step * step) for step in range(5, 17)]


@pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (4, 8)])
def test_a_batch_is_that_of_its_step_whoever_makes_it(workers: int, ahead: int) -> None:
    hr = soft_noise(0, 64, 64)
    sampler = PatchSampler([Pair("noise", matlab_bicubic(hr, 2), hr)], 8, 2, "photo")

    def batch(step: int) -> bytes:
        return sampler.batch(2, np.random.default_rng((3, step))).lr.tobytes()

    with prefetched(batch, 0, 12, workers, ahead) as batches:
        assert [made for _, made in batches] == [batch(step) for step in range(12)]


def test_only_so_many_are_made_ahead() -> None:
    made: list[int] = []
    with prefetched(made.append, 0, 100, workers=3, ahead=4) as batches:
        assert made == []
        next(batches)
        eventually(lambda: sorted(made) == [0, 1, 2, 3])
        next(batches)
        eventually(lambda: sorted(made) == [0, 1, 2, 3, 4])


def test_an_error_is_raised_where_its_batch_would_have_come() -> None:
    def fails_at_two(step: int) -> int:
        if step == 2:
            raise RuntimeError("step 2 has no photograph")
        return step

    with prefetched(fails_at_two, 0, 9) as batches:
        assert [next(batches), next(batches)] == [(0, 0), (1, 1)]
        with pytest.raises(RuntimeError, match="step 2 has no photograph"):
            next(batches)


def test_leaving_early_leaves_no_thread() -> None:
    with prefetched(lambda step: step, 0, 1_000_000) as batches:
        for step, _ in batches:
            if step == 3:
                break


def test_an_interrupted_process_ends_at_once() -> None:
    program = (
        "import signal, training.prefetch as p\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a suite in the background ignores it
        "with p.prefetched(lambda step: step, 0, 10**9) as batches:\n"
        "    for step, _ in batches:\n"
        "        if step == 100: signal.raise_signal(signal.SIGINT)\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )
    assert finished.stderr.rstrip().endswith("KeyboardInterrupt")
