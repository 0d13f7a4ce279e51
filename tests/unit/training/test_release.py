import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from sr_models import aliases
from sr_models.aliases import Alias
from sr_models.bicubic import Bicubic
from sr_models.checkpoint import load
from sr_models.manifest import CheckpointFolder
from sr_models.upscaler import Upscaler
from tests import tiny_checkpoints
from tests.unit.training.conftest import tiny_recipe
from training.dataset import DatasetError
from training.evaluate import score_all
from training.pixel_loop import train
from training.release import ReleaseError, release_bicubic, release_run
from training.release_command import release_command
from training.run_state import RunState
from training.score_table import BENCHMARKS


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
        assert torch.equal(weight, state.average[name].half().float())
    assert found.manifest.weights_bytes < 2.1 * found.manifest.parameters


def test_the_scores_are_those_of_the_stored_weights(run: Path, benchmarks: Path, tmp_path: Path) -> None:
    released = release_run(run, benchmarks, tmp_path, "CC0-1.0", "made for a test")
    assert score_all(Upscaler.from_checkpoint(released), benchmarks) == released.manifest.scores


@pytest.mark.parametrize("bias", [1000.3, 1e5])
def test_weights_that_float16_would_spoil_are_stored_as_they_are(
    bias: float, run: Path, benchmarks: Path, tmp_path: Path
) -> None:
    """1000.3 has no near neighbour in float16, 1e5 none at all; the last layer takes the first away again."""
    state = RunState.load(run)
    assert state is not None
    average = {name: weight.clone() for name, weight in state.average.items()}
    average["mapping.bias"][:2] = 20.0  # its tanh is 1, so that these two channels add up to a constant
    average["subpixel.weight"][:, :2] = 0.0
    average["subpixel.weight"][:, 0, 1, 1] = 0.25 - bias
    average["subpixel.weight"][:, 1, 1, 1] = -0.25
    average["subpixel.bias"] += bias
    replace(state, average=average).save(tmp_path / "run")
    manifest = release_run(tmp_path / "run", benchmarks, tmp_path, "CC0-1.0", "made for a test").manifest
    assert manifest.weights_bytes > 4 * manifest.parameters
    assert all(score.psnr_db > 15.0 for score in manifest.scores)


def test_the_baseline_keeps_its_exact_kernel(benchmarks: Path, tmp_path: Path) -> None:
    found = load(release_bicubic(3, benchmarks, tmp_path))
    assert torch.equal(found.state_dict()["kernel"], Bicubic(3).kernel)


def test_a_run_on_another_degradation_is_scored_by_it_too(
    run: Path, benchmarks: Path, tmp_path: Path
) -> None:
    state = RunState.load(run)
    assert state is not None
    replace(state, recipe={**state.recipe, "degradation": "gaussian"}).save(tmp_path / "run")
    manifest = release_run(tmp_path / "run", benchmarks, tmp_path, "CC0-1.0", "made for a test").manifest
    assert [s.degradation for s in manifest.scores] == ["bicubic"] * 3 + ["gaussian"] * 3


def test_only_the_first_version_is_in_production_by_itself(
    run: Path, benchmarks: Path, tmp_path: Path
) -> None:
    folder = CheckpointFolder(tmp_path)
    for _ in range(2):
        release_run(run, benchmarks, tmp_path, "CC0-1.0", "made for a test")
        assert folder.find("espcn", 2).manifest.version == 1
    assert aliases.read(tmp_path) == {"espcn-x2": Alias(1)}


def test_what_was_in_production_without_an_entry_stays_so(
    run: Path, benchmarks: Path, tmp_path: Path
) -> None:
    for version in (1, 2):
        tiny_checkpoints.publish(tmp_path, version=version)
    assert release_run(run, benchmarks, tmp_path, "CC0-1.0", "x").manifest.version == 3
    assert aliases.read(tmp_path) == {"espcn-x2": Alias(2)}


def test_an_entry_whose_version_is_gone_gives_way(run: Path, benchmarks: Path, tmp_path: Path) -> None:
    aliases.write(tmp_path, {"espcn-x2": Alias(7), "espcn-x3": Alias(4)})
    release_run(run, benchmarks, tmp_path, "CC0-1.0", "made for a test")
    assert aliases.read(tmp_path) == {"espcn-x2": Alias(1), "espcn-x3": Alias(4)}


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tiny disk")
@pytest.mark.parametrize(("end", "least_moments"), [("killed", 8), ("interrupted", 8), ("full", 1)])
def test_a_bad_end_at_any_moment_leaves_no_half_version(
    end: str, least_moments: int, benchmarks: Path, tmp_path: Path
) -> None:
    only_set5 = tmp_path / "benchmarks"
    only_set5.mkdir()
    (only_set5 / "Set5").symlink_to(benchmarks / "Set5")
    command = [sys.executable, "-m", "tests.unit.training.interrupted_release", end]
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0:
        command = ["unshare", "-rm", *command]  # where it may mount, and nobody else sees it
    ended = subprocess.run(
        [*command, str(only_set5), str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout.splitlines()[-1]) >= least_moments
    if end == "full":
        assert "nothing was released: No space left on device; make" in ended.stderr.replace(
            "File too large", "No space left on device"
        )


def test_the_command_says_how_to_promote(run: Path, benchmarks: Path, tmp_path: Path) -> None:
    where = ["--benchmarks", str(benchmarks), "--checkpoints", str(tmp_path)]
    arguments = [str(run), *where, "--licence", "CC0-1.0", "--terms", "made for a test"]
    first, second = (CliRunner().invoke(release_command, arguments).output for _ in range(2))
    assert first == f"Released espcn-x2@1 in {tmp_path}/espcn-x2/1\n"
    assert second.splitlines() == [
        f"Released espcn-x2@2 in {tmp_path}/espcn-x2/2",
        "espcn-x2@1 stays in production; to replace it: "
        f"enlarger models promote espcn-x2@2 --checkpoints {tmp_path}",
    ]


def test_a_folder_that_cannot_be_written_is_told_in_one_line(
    run: Path, benchmarks: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    where = ["--benchmarks", str(benchmarks), "--checkpoints", str(tmp_path / "file" / "folder")]
    result = CliRunner().invoke(
        release_command, [str(run), *where, "--licence", "CC0-1.0", "--terms", "made for a test"]
    )
    assert result.exit_code == 1
    assert result.output.startswith("Error: nothing was released: Not a directory; make ")


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
