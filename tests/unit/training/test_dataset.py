import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.unit.training.conftest import soft_noise
from training.dataset import (
    DatasetError,
    Pair,
    described,
    picture_paths,
    read_pairs,
    read_training_pairs,
    split_folders,
)
from training.degradation import DEGRADATIONS, gaussian, matlab_bicubic


def save(path: Path, height: int, width: int, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(soft_noise(seed, height, width)).save(path)
    return path


def test_photographs_are_read_in_order_with_their_lr(photographs: Path) -> None:
    pairs = read_pairs(photographs, 3)
    assert [p.name for p in pairs] == ["0.png", "1.png", "2.png"]
    assert pairs[0].hr.shape == (96, 81, 3)
    assert pairs[0].lr.shape == (32, 27, 3)
    assert pairs[0].hr.dtype == pairs[0].lr.dtype == np.uint8


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(DatasetError, match=r"holds no pictures \(\.bmp, "):
        picture_paths(tmp_path)


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 cut off")
    with pytest.raises(DatasetError, match=r"broken\.jpg cannot be read as a picture"):
        read_pairs(tmp_path, 2)


def test_a_picture_smaller_than_the_scale_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (9, 2)).save(tmp_path / "flat.png")
    with pytest.raises(DatasetError, match="too small for scale 3"):
        read_pairs(tmp_path, 3)


def test_the_description_changes_with_the_samples(photographs: Path) -> None:
    pairs = read_pairs(photographs, 2)
    whole = described(photographs, pairs)
    assert (whole["photographs"], whole["megapixels"]) == (3, 0.0)
    altered = pairs[0].hr.copy()
    altered[0, 0, 0] ^= 1
    changed = described(photographs, [Pair(pairs[0].name, pairs[0].lr, altered), *pairs[1:]])
    assert changed["sha256"] != whole["sha256"]


def test_the_description_changes_with_lr_that_is_given(tmp_path: Path) -> None:
    save(tmp_path / "HR/1.png", 48, 60)
    made = described(tmp_path, read_training_pairs(tmp_path, 4))
    save(tmp_path / "LR/1.png", 12, 15, 7)
    given = described(tmp_path, read_training_pairs(tmp_path, 4))
    save(tmp_path / "LR/1.png", 12, 15, 8)
    other = described(tmp_path, read_training_pairs(tmp_path, 4))
    assert len({whole["sha256"] for whole in (made, given, other)}) == 3


def test_the_description_of_photographs_stays_what_it_was(tmp_path: Path) -> None:
    """Runs that were begun by an earlier version can be gone on with."""
    save(tmp_path / "\u00e9.png", 48, 60)
    expected = hashlib.sha256("\u00e9.png".encode() + soft_noise(0, 48, 60).tobytes()).hexdigest()
    assert described(tmp_path, read_training_pairs(tmp_path, 4))["sha256"] == expected


def test_names_that_are_not_utf_8_can_be_trained_on_and_written(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xe4")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system only knows UTF-8")
    path = save(folder / os.fsdecode(b"\xe9.png"), 40, 48)
    pairs = read_training_pairs(folder, 2)
    assert [pair.name for pair in pairs] == [r"\xe9.png"]
    assert [pair.name for pair in read_pairs(folder, 2, "photo")] == [r"\xe9.png"]
    assert described(folder, pairs)["folder"] == r"\xe4"
    path.write_bytes(b"no picture")
    with pytest.raises(DatasetError) as refused:
        read_training_pairs(folder, 2)
    assert rf"{tmp_path}/\xe4/\xe9.png cannot be read" in str(refused.value)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    path = save(tmp_path / "folder.png/1.png", 8, 8)
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "linked.png").symlink_to(path)
    assert picture_paths(tmp_path) == [path, tmp_path / "linked.png"]


def test_a_link_to_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "unplugged.png")
    with pytest.raises(DatasetError, match=r"a\.png cannot be read as a picture: .*No such file"):
        read_pairs(tmp_path, 2)


@pytest.mark.parametrize("twice", ["HR", "LR"])
def test_two_pictures_of_one_name_are_named(tmp_path: Path, twice: str) -> None:
    save(tmp_path / "HR/1.png", 48, 60)
    save(tmp_path / "LR/1.png", 12, 15)
    save(tmp_path / twice / "1.bmp", 12, 15)
    with pytest.raises(DatasetError, match=rf"{twice}/1\.bmp and .*{twice}/1\.png have one name"):
        read_training_pairs(tmp_path, 4)


def test_lr_is_made_by_the_degradation_that_is_named(photographs: Path) -> None:
    pair = read_pairs(photographs, 2, "gaussian")[0]
    np.testing.assert_array_equal(pair.lr, gaussian(pair.hr, 2))


def test_a_random_lr_follows_from_the_name_of_the_file(tmp_path: Path) -> None:
    """So that a score on degraded benchmarks can be repeated, whatever else lies in the folder."""
    save(tmp_path / "b.png", 40, 48)
    [alone] = read_pairs(tmp_path, 2, "photo")
    (tmp_path / "a.png").write_bytes((tmp_path / "b.png").read_bytes())
    other, again = read_pairs(tmp_path, 2, "photo")
    np.testing.assert_array_equal(alone.lr, again.lr)
    assert (alone.lr != other.lr).any()
    seed = int.from_bytes(hashlib.sha256(b"b.png").digest())
    np.testing.assert_array_equal(alone.lr, DEGRADATIONS["photo"](alone.hr, 2, np.random.default_rng(seed)))


def test_for_training_on_a_random_degradation_lr_only_shows_where_detail_lies(photographs: Path) -> None:
    pair = read_training_pairs(photographs, 2, "photo")[0]
    np.testing.assert_array_equal(pair.lr, matlab_bicubic(pair.hr, 2))


LAYOUTS = [
    ("HR/{}.png", "LR/{}.png", "."),
    ("HR/a/{}.png", "LR/a/{}x4.png", "."),
    ("HR/{}.png", "LR_bicubic/X4/{}x4.png", "."),
    ("DIV2K_train_HR/{}.png", "DIV2K_train_LR_bicubic/X4/{}x4.png", "DIV2K_train_HR"),
]


@pytest.mark.parametrize(("hr", "lr", "folder"), LAYOUTS)
def test_given_lr_is_used_as_it_is(tmp_path: Path, hr: str, lr: str, folder: str) -> None:
    for seed, name in enumerate(("0001", "0002")):
        save(tmp_path / hr.format(name), 50, 62, seed)
        save(tmp_path / lr.format(name), 12, 15, 7 + seed)
    pairs = read_training_pairs(tmp_path / folder, 4)
    assert [p.name for p in pairs] == ["0001.png", "0002.png"]
    np.testing.assert_array_equal(pairs[1].lr, soft_noise(8, 12, 15))
    np.testing.assert_array_equal(pairs[1].hr, soft_noise(1, 50, 62)[:48, :60])
    made = read_training_pairs(tmp_path / folder, 4, "gaussian")
    np.testing.assert_array_equal(made[1].lr, gaussian(pairs[1].hr, 4))
    scored = read_pairs(tmp_path / folder, 4)  # the benchmarks' protocol makes its own
    np.testing.assert_array_equal(scored[1].lr, matlab_bicubic(pairs[1].hr, 4))


def test_lr_of_another_scale_is_none_of_this_one(tmp_path: Path) -> None:
    save(tmp_path / "HR/1.png", 48, 60)
    save(tmp_path / "LR/X2/1x2.png", 24, 30)
    [pair] = read_training_pairs(tmp_path, 3)
    np.testing.assert_array_equal(pair.lr, matlab_bicubic(pair.hr, 3))


@pytest.mark.parametrize(
    ("lr", "message"),
    [
        ({"1.png": (12, 15)}, r"HR/2\.png has no LR: put 2\.png or 2x4\.png into .*LR"),
        (
            {"1.png": (12, 15), "2.png": (12, 15), "3x4.png": (12, 15)},
            r"LR/3x4\.png has no HR in .*HR \(and 0 more\)",
        ),
        (
            {"1.png": (12, 15), "2.png": (12, 16)},
            r"LR/2\.png has 16x12 px, but its HR .*HR/2\.png has 60x48, which makes 15x12 at scale 4",
        ),
    ],
)
def test_lr_that_does_not_match_hr_is_named(
    tmp_path: Path, lr: dict[str, tuple[int, int]], message: str
) -> None:
    for name in ("1.png", "2.png"):
        save(tmp_path / "HR" / name, 50, 62)
    for name, (height, width) in lr.items():
        save(tmp_path / "LR" / name, height, width)
    with pytest.raises(DatasetError, match=message):
        read_training_pairs(tmp_path, 4)


def test_hidden_files_are_no_pictures(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", 8, 8)
    (tmp_path / "._a.jpg").write_bytes(b"what macOS leaves")
    assert picture_paths(tmp_path) == [path]


def test_folders_to_train_and_to_validate_on_are_found(tmp_path: Path) -> None:
    assert split_folders(tmp_path) == (tmp_path, None)
    (tmp_path / "valid").mkdir()
    with pytest.raises(DatasetError, match="holds valid but no train"):
        split_folders(tmp_path)
    (tmp_path / "train").mkdir()
    assert split_folders(tmp_path) == (tmp_path / "train", tmp_path / "valid")
    div2k = tmp_path / "div2k"
    (div2k / "DIV2K_train_HR").mkdir(parents=True)
    assert split_folders(div2k) == (div2k / "DIV2K_train_HR", None)


@pytest.mark.parametrize("folder", ["Set5", "benchmarks/B100/HR", "my/BSDS500", "all"])
def test_a_benchmark_set_is_not_trained_on(tmp_path: Path, folder: str) -> None:
    save(tmp_path / folder / ("set14/1.png" if folder == "all" else "1.png"), 8, 8)
    with pytest.raises(DatasetError, match=r"holds (Set5|B100|BSDS500|set14), a benchmark set"):
        read_training_pairs(tmp_path / folder, 2)
