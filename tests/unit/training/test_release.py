from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sr_models.checkpoint import load
from sr_models.manifest import CheckpointFolder
from sr_models.upscaler import Upscaler
from tests.unit.training.conftest import tiny_recipe
from training.dataset import DatasetError
from training.evaluate import BENCHMARKS
from training.pixel_loop import train
from training.release import ReleaseError, release_run
from training.run_state import RunState


@pytest.fixture(scope="module")
def run(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train(tiny_recipe(), photographs, folder)
    return folder


def test_the_released_version_is_the_moving_average(run: Path, benchmarks: Path, tmp_path: Path) -> None:
    released = release_run(run, benchmarks, tmp_path, "CC0-1.0", "made for a test")
    [found] = CheckpointFolder(tmp_path).checkpoints()
    assert found.manifest.to_json() == released.manifest.to_json()
    state = RunState.load(run)
    assert state is not None
    for name, weight in load(found).state_dict().items():
        assert torch.equal(weight, state.average[name])


def test_the_manifest_says_how_it_was_made(run: Path, benchmarks: Path, tmp_path: Path) -> None:
    manifest = release_run(run, benchmarks, tmp_path, "CC0-1.0", "made for a test").manifest
    assert manifest.label == "espcn-x2@1"
    assert [s.benchmark for s in manifest.scores] == list(BENCHMARKS)
    assert manifest.training["recipe"]["steps"] == 4
    assert manifest.training["data"]["photographs"] == 3
    assert manifest.training["data"]["terms"] == "made for a test"
    assert manifest.training["commit"]
    assert (manifest.receptive_radius_px, manifest.halo_px) == (4, 4)


def test_a_second_release_is_the_next_version(run: Path, benchmarks: Path, tmp_path: Path) -> None:
    first = release_run(run, benchmarks, tmp_path, "CC0-1.0", "made for a test")
    before = first.weights_path.read_bytes()
    second = release_run(run, benchmarks, tmp_path, "CC0-1.0", "made for a test")
    assert (first.manifest.version, second.manifest.version) == (1, 2)
    assert first.weights_path.read_bytes() == before


def test_a_released_version_enlarges(run: Path, benchmarks: Path, tmp_path: Path) -> None:
    upscaler = Upscaler.from_checkpoint(release_run(run, benchmarks, tmp_path, "CC0-1.0", "made for a test"))
    assert upscaler.upscale(np.zeros((5, 7, 3), np.uint8)).shape == (10, 14, 3)


def test_a_release_that_fails_leaves_nothing(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="none of the benchmark sets"):
        release_run(run, tmp_path / "no benchmarks", tmp_path / "published", "CC0-1.0", "made for a test")
    assert not list(tmp_path.rglob("*.safetensors"))


def test_an_unfinished_run_is_not_released(run: Path, benchmarks: Path, tmp_path: Path) -> None:
    state = RunState.load(run)
    assert state is not None
    replace(state, step=4).save(tmp_path / "unfinished")
    with pytest.raises(ReleaseError, match="is at step 4 of 6: run it to its end"):
        release_run(tmp_path / "unfinished", benchmarks, tmp_path, "CC0-1.0", "made for a test")


def test_a_folder_without_a_run_is_refused(benchmarks: Path, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="holds no run"):
        release_run(tmp_path, benchmarks, tmp_path, "CC0-1.0", "made for a test")
