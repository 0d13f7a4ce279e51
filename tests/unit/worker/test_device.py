"""Which device, how many threads, what precision."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from sr_models.manifest import CheckpointFolder, default_checkpoint_folder
from sr_models.upscaler import Upscaler
from tests.pictures import natural_picture
from worker.device import Precision, choose_dtype, choose_threads, devices


def test_the_devices_are_printed_one_a_line() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "worker.device"], capture_output=True, text=True, check=True
    ).stdout
    assert printed.split() == devices()


@pytest.mark.parametrize(
    ("times_s", "chosen"),
    [
        ({1: 4.0, 2: 2.0, 4: 1.0}, 4),
        ({1: 4.0, 2: 2.0, 4: 1.97}, 2),  # two hardware threads of each core
        ({1: 1.0, 2: 1.02, 4: 3.0}, 1),  # a container with one core's share
        ({6: 1.0}, 6),
    ],
)
def test_no_more_threads_than_pay(times_s: dict[int, float], chosen: int) -> None:
    assert choose_threads(times_s.__getitem__, list(times_s)) == chosen


def test_the_measured_count_is_one_that_this_process_may_have() -> None:
    before = torch.get_num_threads()
    try:
        assert choose_threads(counts=(1, 2)) in (1, 2)
    finally:
        torch.set_num_threads(before)


def test_a_cpu_without_units_for_it_is_not_given_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    for supported, dtype in ((False, torch.float32), (True, torch.bfloat16)):
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda supported=supported: supported)
        assert choose_dtype(Precision.AUTO, "cpu") is dtype
        assert choose_dtype(Precision.FLOAT32, "cpu") is torch.float32


@pytest.mark.parametrize(("dtype", "levels"), [(torch.bfloat16, 3), (torch.float16, 1)])
def test_half_precision_stays_near_float32(dtype: torch.dtype, levels: int) -> None:
    """The tolerance that is promised for a picture made on another device: no sample further off, the mean far less."""
    checkpoint = CheckpointFolder(default_checkpoint_folder()).find("edsr-baseline", 2)
    lr_NHWC = np.asarray(natural_picture(48, 40, 3))[None]
    exact = Upscaler.from_checkpoint(checkpoint).enlarge(lr_NHWC).astype(np.int16)
    half = Upscaler.from_checkpoint(checkpoint, dtype=dtype).enlarge(lr_NHWC)
    apart = np.abs(half - exact)
    assert 0 < apart.max() <= levels
    assert apart.mean() < 0.35


def test_threads_do_not_change_the_result() -> None:
    upscaler = Upscaler.from_checkpoint(CheckpointFolder(default_checkpoint_folder()).find("espcn", 4))
    lr_NHWC = np.asarray(natural_picture(100, 90, 5))[None]
    before = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(upscaler.enlarge(lr_NHWC))
    finally:
        torch.set_num_threads(before)
    assert all(np.array_equal(result, results[0]) for result in results)
