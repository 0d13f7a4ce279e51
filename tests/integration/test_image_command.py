"""`enlarger image` with the published models."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from enlarger.cli import main
from tests.eventually import eventually
from tests.pictures import encoded, natural_picture
from worker.pipeline import Pipeline, UpscaleRequest

PICTURES = 20


def enlarge(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["image", *map(str, arguments)])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "trip").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(encoded(natural_picture(60, 40, 1), "JPEG"))
    (folder / "b.png").write_bytes(encoded(natural_picture(30, 50, 2), "PNG"))
    (folder / "trip" / "c.webp").write_bytes(encoded(natural_picture(45, 45, 3), "WEBP"))
    return folder


def test_a_folder_is_enlarged_as_the_pipeline_does(photos: Path, tmp_path: Path) -> None:
    shown = enlarge(photos, "-o", tmp_path / "out", "-s", "2", "--recursive")
    assert shown.exit_code == 0, shown.output
    assert shown.stderr.endswith("3 enlarged\n")
    with Pipeline() as pipeline:
        for name in ("a.jpg", "b.png", "trip/c.webp"):
            expected = pipeline.submit(UpscaleRequest((photos / name).read_bytes(), scale=2)).result()
            assert (tmp_path / "out" / name).read_bytes() == expected.content
    assert sum(path.is_file() for path in (tmp_path / "out").rglob("*")) == 3


def test_a_second_run_skips_what_is_there(photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    enlarge(photos / "a.jpg", "-o", output)
    (output / "a.jpg").write_bytes(b"kept")
    again = enlarge(photos, "-o", output)
    assert "1 enlarged, 1 skipped" in again.stderr
    assert (output / "a.jpg").read_bytes() == b"kept"
    assert enlarge(photos, "-o", output, "--overwrite").stderr.endswith("2 enlarged\n")
    assert (output / "a.jpg").read_bytes() != b"kept"


def test_a_damaged_picture_is_reported_and_the_others_go_on(photos: Path, tmp_path: Path) -> None:
    whole = (photos / "a.jpg").read_bytes()
    (photos / "aa.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "ab.png").write_bytes(b"no picture")
    shown = enlarge(photos, "-o", tmp_path / "out")
    assert shown.exit_code == 1
    assert shown.stderr.endswith("2 enlarged, 2 failed\n")
    assert f"{photos / 'aa.jpg'}: The picture cannot be decoded" in shown.stderr
    assert f"{photos / 'ab.png'}: " in shown.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.jpg", "b.png"]


def test_format_quality_and_name_are_the_users(photos: Path, tmp_path: Path) -> None:
    sizes = []
    for quality in ("20", "95"):
        assert (
            enlarge(photos / "b.png", "-o", tmp_path / f"{quality}.jpg", "--quality", quality).exit_code == 0
        )
        with Image.open(tmp_path / f"{quality}.jpg") as made:
            assert (made.format, made.size) == ("JPEG", (120, 200))
        sizes.append((tmp_path / f"{quality}.jpg").stat().st_size)
    assert sizes[0] < sizes[1]
    enlarge(photos / "b.png", "-o", tmp_path / "out", "--format", "webp", "-m", "bicubic", "-s", "3")
    with Image.open(tmp_path / "out" / "b.webp") as made:
        assert (made.format, made.size) == ("WEBP", (90, 150))


def test_an_ensemble_is_another_picture(photos: Path, tmp_path: Path) -> None:
    for folder, options in (("one", []), ("eight", ["--ensemble"])):
        assert enlarge(photos / "b.png", "-o", tmp_path / folder, "-m", "espcn", *options).exit_code == 0
    one, eight = (
        np.asarray(Image.open(tmp_path / folder / "b.png"), np.int16) for folder in ("one", "eight")
    )
    assert 0 < np.abs(one - eight).max() < 80
    assert np.abs(one - eight).mean() < 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-m", "no-such-model"], "no model 'no-such-model' is published"),
        (["-s", "7"], "7 is not in the range"),
        (["--format", "gif"], "'gif' is not one of"),
    ],
)
def test_a_wrong_option_is_told_before_any_work(
    photos: Path, tmp_path: Path, arguments: list[str], said: str
) -> None:
    shown = enlarge(photos, "-o", tmp_path / "out", *arguments)
    assert shown.exit_code == 2
    assert said in shown.stderr
    assert not (tmp_path / "out").exists()


def test_results_that_would_collide_are_told_before_any_work(photos: Path, tmp_path: Path) -> None:
    (photos / "trip" / "a.jpg").write_bytes((photos / "a.jpg").read_bytes())
    shown = enlarge(photos / "a.jpg", photos / "trip" / "a.jpg", "-o", tmp_path / "out")
    assert shown.exit_code == 2
    assert "would both become" in shown.stderr
    assert not (tmp_path / "out").exists()


def test_ctrl_c_leaves_whole_files_only(tmp_path: Path) -> None:
    photos, output = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for number in range(PICTURES):
        (photos / f"{number}.png").write_bytes(encoded(natural_picture(200, 150, number), "PNG"))
    command = [sys.executable, "-m", "enlarger", "image", str(photos), "-o", str(output), "-s", "4"]
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores SIGINT, and hands that on to what it starts: this suite, for one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        eventually(lambda: list(output.glob("*.png")), 60.0, "a result is there")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.search(r"\d+ enlarged, \d+ left", said)
    made = list(output.iterdir())
    assert 0 < len(made) < PICTURES
    for path in made:
        assert path.suffix == ".png"
        assert np.asarray(Image.open(path)).shape == (600, 800, 3)
    finished = enlarge(photos, "-o", output)
    assert f"{PICTURES - len(made)} enlarged, {len(made)} skipped (--overwrite" in finished.stderr
