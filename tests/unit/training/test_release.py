import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from sr_models import aliases
from sr_models.aliases import Alias
from sr_models.bicubic import Bicubic
from sr_models.checkpoint import load
from sr_models.manifest import MANIFEST_FILE, Checkpoint, CheckpointFolder
from sr_models.upscaler import Upscaler
from tests import tiny_checkpoints
from tests.unit.training.conftest import tiny_recipe
from tests.unit.training.test_gan_loop import tiny_gan
from training.dataset import DatasetError
from training.evaluate import score_all
from training.pixel_loop import train
from training.publication import UNFINISHED_FOLDER, ReleaseError
from training.release import refuse_poor, release_bicubic, release_run
from training.release_command import release_command
from training.run_state import STATE_FILE, RunState
from training.score_table import BENCHMARKS


@pytest.fixture(scope="module")
def run(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train(tiny_recipe(), photographs, folder)
    return folder


def only_set5(benchmarks: Path, folder: Path) -> Path:
    """A folder with that set only."""
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "Set5").symlink_to(benchmarks / "Set5")
    return folder / "benchmarks"


def released_from(run: Path, benchmarks: Path, published: Path) -> Checkpoint:
    """A release although six steps teach less than bicubic knows."""
    return release_run(run, benchmarks, published, "CC0-1.0", "made for a test", even_if_poor=True)


def test_the_released_version_is_the_moving_average(run: Path, benchmarks: Path, tmp_path: Path) -> None:
    released = released_from(run, benchmarks, tmp_path)
    [found] = CheckpointFolder(tmp_path).checkpoints()
    assert found.manifest.to_json() == released.manifest.to_json()
    state = RunState.load(run)
    assert state is not None
    for name, weight in load(found).state_dict().items():
        assert torch.equal(weight, state.average[name].half().float())
    assert found.manifest.weights_bytes < 2.1 * found.manifest.parameters


def test_the_scores_are_those_of_the_stored_weights(run: Path, benchmarks: Path, tmp_path: Path) -> None:
    released = released_from(run, benchmarks, tmp_path)
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
    manifest = released_from(tmp_path / "run", benchmarks, tmp_path).manifest
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
    manifest = released_from(tmp_path / "run", benchmarks, tmp_path).manifest
    assert [s.degradation for s in manifest.scores] == ["bicubic"] * 3 + ["gaussian"] * 3


def test_only_the_first_version_is_in_production_by_itself(
    run: Path, benchmarks: Path, tmp_path: Path
) -> None:
    folder = CheckpointFolder(tmp_path)
    for _ in range(2):
        released_from(run, benchmarks, tmp_path)
        assert folder.find("espcn", 2).manifest.version == 1
    assert aliases.read(tmp_path) == {"espcn-x2": Alias(1)}


def test_what_was_in_production_without_an_entry_stays_so(
    run: Path, benchmarks: Path, tmp_path: Path
) -> None:
    for version in (1, 2):
        tiny_checkpoints.publish(tmp_path, version=version)
    assert released_from(run, benchmarks, tmp_path).manifest.version == 3
    assert aliases.read(tmp_path) == {"espcn-x2": Alias(2)}


def test_an_entry_whose_version_is_gone_gives_way(run: Path, benchmarks: Path, tmp_path: Path) -> None:
    aliases.write(tmp_path, {"espcn-x2": Alias(7), "espcn-x3": Alias(4)})
    released_from(run, benchmarks, tmp_path)
    assert aliases.read(tmp_path) == {"espcn-x2": Alias(1), "espcn-x3": Alias(4)}


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tiny disk")
@pytest.mark.parametrize(("end", "least_moments"), [("killed", 8), ("interrupted", 8), ("full", 1)])
def test_a_bad_end_at_any_moment_leaves_no_half_version(
    end: str, least_moments: int, benchmarks: Path, tmp_path: Path
) -> None:
    small = only_set5(benchmarks, tmp_path)
    command = [sys.executable, "-m", "tests.unit.training.interrupted_release", end]
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0:
        command = ["unshare", "-rm", *command]  # where it may mount, and nobody else sees it
    ended = subprocess.run(
        [*command, str(small), str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout.splitlines()[-1]) >= least_moments
    if end == "full":
        assert "nothing was released: No space left on device; make" in ended.stderr.replace(
            "File too large", "No space left on device"
        )


def test_the_command_says_how_to_promote(run: Path, benchmarks: Path, tmp_path: Path) -> None:
    where = ["--benchmarks", str(benchmarks), "--checkpoints", str(tmp_path)]
    arguments = [str(run), *where, "--licence", "CC0-1.0", "--terms", "made for a test", "--even-if-poor"]
    first, second = (CliRunner().invoke(release_command, arguments).output for _ in range(2))
    assert re.fullmatch(
        rf"Released espcn-x2@1 in {tmp_path}/espcn-x2/1\nPSNR: Set5 \d+\.\d\d dB, Set14 .*, B100 .* dB\n",
        first,
    )
    assert [line for line in second.splitlines() if not line.startswith("PSNR")] == [
        f"Released espcn-x2@2 in {tmp_path}/espcn-x2/2",
        "espcn-x2@1 stays in production; to replace it: "
        f"enlarger models promote espcn-x2@2 --checkpoints {tmp_path}",
    ]


@pytest.mark.parametrize(
    ("licence", "terms", "message"),
    [
        ("blah", "mine", "'blah' is no SPDX identifier"),
        ("", "mine", "no SPDX"),
        ("CC0-1.0", " ", "say in --terms"),
    ],
)
def test_a_version_says_what_may_be_done_with_it(
    run: Path, benchmarks: Path, tmp_path: Path, licence: str, terms: str, message: str
) -> None:
    with pytest.raises(ReleaseError, match=message):
        release_run(run, benchmarks, tmp_path, licence, terms, even_if_poor=True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told_in_one_line(
    run: Path, benchmarks: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    where = ["--benchmarks", str(benchmarks), "--checkpoints", str(tmp_path / "file" / "folder")]
    result = CliRunner().invoke(
        release_command,
        [str(run), *where, "--licence", "CC0-1.0", "--terms", "made for a test", "--even-if-poor"],
    )
    assert result.exit_code == 1
    assert result.output.startswith("Error: nothing was released: Not a directory; make ")


def test_the_manifest_says_how_it_was_made(run: Path, benchmarks: Path, tmp_path: Path) -> None:
    manifest = released_from(run, benchmarks, tmp_path).manifest
    assert manifest.label == "espcn-x2@1"
    assert [s.benchmark for s in manifest.scores] == list(BENCHMARKS)
    assert manifest.training["recipe"]["steps"] == 4
    assert manifest.training["data"]["photographs"] == 3
    assert manifest.training["data"]["terms"] == "made for a test"
    assert manifest.training["commit"]
    assert (manifest.receptive_radius_px, manifest.halo_px) == (4, 4)


def test_a_second_release_is_the_next_version(run: Path, benchmarks: Path, tmp_path: Path) -> None:
    first = released_from(run, benchmarks, tmp_path)
    before = first.weights_path.read_bytes()
    second = released_from(run, benchmarks, tmp_path)
    assert (first.manifest.version, second.manifest.version) == (1, 2)
    assert first.weights_path.read_bytes() == before


def test_a_released_version_enlarges(run: Path, benchmarks: Path, tmp_path: Path) -> None:
    upscaler = Upscaler.from_checkpoint(released_from(run, benchmarks, tmp_path))
    assert upscaler.upscale(np.zeros((5, 7, 3), np.uint8)).shape == (10, 14, 3)


def test_a_release_that_fails_leaves_nothing(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="none of the benchmark sets"):
        released_from(run, tmp_path / "no benchmarks", tmp_path / "published")
    assert not list(tmp_path.rglob("*.safetensors"))


def test_an_unfinished_run_is_not_released(run: Path, benchmarks: Path, tmp_path: Path) -> None:
    state = RunState.load(run)
    assert state is not None
    replace(state, step=4).save(tmp_path / "unfinished")
    with pytest.raises(ReleaseError, match="is at step 4 of 6: run it to its end"):
        released_from(tmp_path / "unfinished", benchmarks, tmp_path)


def test_a_folder_without_a_run_is_refused(benchmarks: Path, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="holds no run"):
        released_from(tmp_path, benchmarks, tmp_path)


def changed(run: Path, folder: Path, **fields: Any) -> Path:
    """The run with other fields in its state."""
    state = RunState.load(run)
    assert state is not None
    replace(state, **fields).save(folder / "run")
    return folder / "run"


def a_recipe(run: Path, **fields: Any) -> dict[str, Any]:
    """The run's recipe with other fields."""
    state = RunState.load(run)
    assert state is not None
    return {**state.recipe, **fields}


def told(run: Path, benchmarks: Path, published: Path, *options: str) -> str:
    """What the command says where it refuses: one line."""
    where = ["--benchmarks", str(benchmarks), "--checkpoints", str(published)]
    about = ["--licence", "CC0-1.0", "--terms", "made for a test"]
    result = CliRunner().invoke(release_command, [str(run), *where, *about, *options])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    assert not list(published.rglob(MANIFEST_FILE))
    return result.output


def test_weights_that_are_no_numbers_are_never_released(run: Path, benchmarks: Path, tmp_path: Path) -> None:
    state = RunState.load(run)
    assert state is not None
    average = {name: weight.clone() for name, weight in state.average.items()}
    average["mapping.bias"][3] = torch.nan
    diverged = changed(run, tmp_path, average=average)
    assert "its weights are no numbers" in told(diverged, benchmarks, tmp_path, "--even-if-poor")


def test_a_run_that_bicubic_beats_is_not_released(run: Path, benchmarks: Path, tmp_path: Path) -> None:
    message = told(run, benchmarks, tmp_path)
    assert "on bicubic LR where bicubic reaches" in message
    assert "--even-if-poor" in message


@pytest.mark.parametrize(("cost_db", "fits"), [(2.5, True), (3.5, False)])
def test_a_discriminator_may_cost_three_decibels(
    cost_db: float, fits: bool, run: Path, benchmarks: Path, tmp_path: Path
) -> None:
    """On LR as the recipe makes it: that the other scores are low does not matter."""
    bicubic = release_bicubic(2, benchmarks, tmp_path).manifest
    recipe = replace(tiny_gan(), degradation="gaussian")
    [*_, baseline] = score_all(Upscaler(Bicubic(2), bicubic), only_set5(benchmarks, tmp_path), "gaussian")
    scores = (
        replace(baseline, degradation="bicubic", psnr_db=1.0),
        replace(baseline, psnr_db=baseline.psnr_db - cost_db),
    )
    manifest = replace(bicubic, scores=scores)
    if fits:
        refuse_poor(manifest, recipe, tmp_path / "benchmarks")
        return
    with pytest.raises(ReleaseError, match="on gaussian LR where bicubic reaches"):
        refuse_poor(manifest, recipe, tmp_path / "benchmarks")


@pytest.mark.parametrize(
    ("fields", "because"),
    [
        ({"family": "../../evil"}, "names no checkpoint"),
        ({"family": "Espcn"}, "names no checkpoint"),
        ({"scale": 5}, "names no checkpoint"),
        ({"steps": "many"}, "steps"),
        ({"flavour": "sweet"}, "flavour"),
        ({"hyperparameters": {"scale": 3}}, "size mismatch"),
        ({"architecture": "transformer"}, "network 'transformer' is unknown"),
    ],
)
def test_a_recipe_that_cannot_be_is_told_in_one_line(
    fields: dict[str, Any], because: str, run: Path, benchmarks: Path, tmp_path: Path
) -> None:
    strange = changed(run, tmp_path, recipe=a_recipe(run, **fields))
    assert because in told(strange, benchmarks, tmp_path / "published")


def test_a_state_of_another_time_is_told_in_one_line(run: Path, benchmarks: Path, tmp_path: Path) -> None:
    state = torch.load(run / STATE_FILE, weights_only=True)
    for number, strange in enumerate(
        [{**state, "average": None}, {"step": 3}, {**state, "recipe": {}}, {**state, "average": {"a": 1}}]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        torch.save(strange, folder / STATE_FILE)
        told(folder, benchmarks, tmp_path / "published")


def test_what_is_in_the_way_is_to_be_deleted(run: Path, benchmarks: Path, tmp_path: Path) -> None:
    for name in ("espcn-x2", "espcn-x2/1", UNFINISHED_FOLDER):
        obstacle = tmp_path / name
        obstacle.parent.mkdir(exist_ok=True)
        obstacle.touch()
        message = told(run, benchmarks, tmp_path, "--even-if-poor")
        assert f"{obstacle} is in the way and no version; delete it and release again" in message
        obstacle.unlink()
