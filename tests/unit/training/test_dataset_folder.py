from pathlib import Path

import pytest

from training.dataset import DatasetError
from training.dataset_folder import refuse_run_among_photographs


@pytest.mark.parametrize(
    ("folders", "data", "out", "searched"),
    [
        ("data", "data", "data/runs/a", "data"),
        ("data", "data", "data", "data"),
        ("data/train data/valid", "data", "data/train/run", "data/train"),
        ("data/train data/valid", "data", "data/valid/run", "data/valid"),
        ("data/HR data/LR", "data", "data/LR/run", "data/LR"),
        ("linked", "data", "linked/run", "data"),
        ("data pictures", "data", "pictures/run", "pictures"),
    ],
)
def test_a_run_inside_the_photographs_is_refused(
    tmp_path: Path, folders: str, data: str, out: str, searched: str
) -> None:
    for folder in folders.split():
        (tmp_path / folder).mkdir(parents=True)
    if not (tmp_path / data).exists():
        (tmp_path / data).symlink_to(tmp_path / "linked")
    validate = tmp_path / "pictures" if "pictures" in folders else None
    with pytest.raises(
        DatasetError, match=rf"/{out} lies inside .* folder .*/{searched}, .*choose another --out"
    ):
        refuse_run_among_photographs(tmp_path / out, tmp_path / data, validate, 4)


@pytest.mark.parametrize(
    ("folders", "data", "out"),
    [
        ("run/photographs", "run/photographs", "run"),
        ("data", "data", "data-run"),
        ("data/HR data/LR", "data", "data/run"),
        ("data/train", "data", "data/run"),
    ],
)
def test_a_run_that_is_not_searched_is_allowed(tmp_path: Path, folders: str, data: str, out: str) -> None:
    for folder in folders.split():
        (tmp_path / folder).mkdir(parents=True)
    refuse_run_among_photographs(tmp_path / out, tmp_path / data, None, 4)
