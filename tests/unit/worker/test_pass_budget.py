"""The budget of a pass by a stand-in for a device whose times are known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sr_models.samples import StoredSamples
from sr_models.upscaler import Upscaler, nothing
from tests.tiny_checkpoints import publish
from worker.pass_budget import LONGEST_S, measured_budget_px


class Device(Upscaler):
    """A pass of n tiles takes a·n + b seconds, and n at most fit."""

    def __init__(self, checkpoints: Path, a_s: float, b_s: float, room: int = 10_000) -> None:
        self.__dict__.update(Upscaler.from_checkpoint(publish(checkpoints)).__dict__)
        self.now_s, self._a_s, self._b_s, self._room = 0.0, a_s, b_s, room

    def enlarge(self, lr_NHWC: StoredSamples, between_layers: Callable[[], None] = nothing) -> StoredSamples:
        if len(lr_NHWC) > self._room:
            raise RuntimeError("out of memory")
        self.now_s += self._a_s * len(lr_NHWC) + self._b_s
        return np.empty(0, np.uint8)

    def clock(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("a_s", "b_s", "tiles"),
    [
        (0.3, 0.0, 1),  # a single tile takes longer than a pass should
        (0.01, 0.0, 1),  # nothing is gained by company
        (0.001, 0.001, 16),  # 2.0, 1.5, 1.25, 1.125, 1.0625, 1.031 ms a tile
        (0.01, 0.1, 8),  # 16 would take 260 ms
        (1e-6, 1e-2, 256),  # a large GPU: the most that is tried
    ],
)
def test_a_pass_grows_while_it_pays(tmp_path: Path, a_s: float, b_s: float, tiles: int) -> None:
    device = Device(tmp_path, a_s, b_s)
    assert measured_budget_px(device, 64, device.clock) == tiles * 64**2
    assert tiles == 1 or a_s * tiles + b_s <= LONGEST_S


def test_a_full_device_ends_the_search(tmp_path: Path) -> None:
    device = Device(tmp_path, 1e-6, 1e-2, room=10)
    assert measured_budget_px(device, 64, device.clock) == 8 * 64**2


def test_a_device_without_room_for_one_tile_says_so(tmp_path: Path) -> None:
    device = Device(tmp_path, 1e-3, 1e-3, room=0)
    with pytest.raises(RuntimeError, match="out of memory"):
        measured_budget_px(device, 64, device.clock)
