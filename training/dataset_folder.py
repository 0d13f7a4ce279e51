"""Where the pictures of a dataset lie: which are HR, which are their LR, which are for training.

A dataset is a folder of HR photographs, in subfolders or not; or one with `HR/` and, if LR is given, `LR/` in it; or DIV2K as it
comes: `DIV2K_train_HR` beside `DIV2K_train_LR_bicubic/X4`.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from training.photograph import DatasetError

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})

_FOR_SCORING_ONLY = re.compile(r"set5|set14|b100|bsds?\d*", re.IGNORECASE)


def split_folders(folder: Path) -> tuple[Path, Path | None]:
    """The folders to train on and to validate on: `train` and `valid` in it, or DIV2K's; else the whole of it and none.

    Raises DatasetError for one to validate on alone, which nobody wants to train on.
    """
    for train, valid in (("train", "valid"), ("DIV2K_train_HR", "DIV2K_valid_HR")):
        if (folder / train).is_dir():
            return folder / train, folder / valid if (folder / valid).is_dir() else None
        if (folder / valid).is_dir():
            raise DatasetError(f"{folder} holds {valid} but no {train}; name the folder to train on {train}")
    return folder, None


def picture_paths(folder: Path) -> list[Path]:
    """All HR pictures of the dataset, in the order of their paths.

    Raises DatasetError if there are none.
    """
    paths = _pictures_below(_hr_folder(folder))
    if not paths:
        raise DatasetError(f"{folder} holds no pictures ({', '.join(sorted(PICTURE_SUFFIXES))})")
    return paths


def given_lr_paths(folder: Path, scale: int) -> list[tuple[Path, Path]] | None:
    """(HR, LR) of each picture, where the dataset holds LR for this scale; None where it does not.

    An LR is called like its HR, or has `x4` behind the name as in DIV2K. Raises DatasetError for an HR without LR, an LR without
    HR, and two of one name (`1.png`, `1.jpg`): it names the files.
    """
    hr_folder = _hr_folder(folder)
    lr_folder = _lr_folder(hr_folder, scale)
    if lr_folder is None:
        return None
    unmatched = _by_name(_pictures_below(lr_folder), lr_folder)
    pairs = []
    for name, hr_path in _by_name(picture_paths(folder), hr_folder).items():
        lr_path = unmatched.pop(name, None) or unmatched.pop(f"{name}x{scale}", None)
        if lr_path is None:
            raise DatasetError(
                f"{hr_path} has no LR: put {Path(name).name}.png or {Path(name).name}x{scale}.png into {lr_folder}"
            )
        pairs.append((hr_path, lr_path))
    if unmatched:
        raise DatasetError(
            f"{next(iter(unmatched.values()))} has no HR in {hr_folder} (and {len(unmatched) - 1} more): "
            "take it away, or add its HR"
        )
    return pairs


def refuse_benchmarks(folder: Path, paths: Iterable[Path]) -> None:
    """Raises DatasetError where a folder to train on is, or holds, one of the sets that networks are scored on."""
    resolved = folder.resolve()
    below = (part for path in paths for part in path.relative_to(folder).parts[:-1])
    for part in (resolved.name, resolved.parent.name, *below):
        if _FOR_SCORING_ONLY.fullmatch(part):
            raise DatasetError(
                f"{folder} holds {part}, a benchmark set: scores of a network that was trained on it mean nothing; "
                "train on other photographs"
            )


def refuse_run_among_photographs(out: Path, data: Path, validate: Path | None, scale: int) -> None:
    """Raises DatasetError where a run's folder lies in one that is searched for its photographs, or is it.

    The run draws its curve and crops there as PNG: they would be trained on, and the run could not be gone on with.
    `data` and `validate`: as the run takes them.
    """
    train, valid = split_folders(data)
    for folder in (train, validate or valid):
        for searched in (_hr_folder(folder), _lr_folder(_hr_folder(folder), scale)) if folder else ():
            if searched and out.resolve().is_relative_to(searched.resolve()):
                raise DatasetError(
                    f"the run's folder {out} lies inside the photographs' folder {searched}, where its curve and crops would "
                    "count as photographs; choose another --out"
                )


def _pictures_below(folder: Path) -> list[Path]:
    """Without hidden files: macOS leaves `._name.jpg`, which is no picture, beside each file that it unpacks.

    Nor what is no file: to read a pipe would wait for ever. A link to nothing stays, so that reading it says so.
    """
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in PICTURE_SUFFIXES
        and not path.name.startswith(".")
        and (path.is_file() or not path.exists())
    )


def _by_name(paths: Iterable[Path], folder: Path) -> dict[str, Path]:
    """The pictures by their path in the folder without suffix. Raises DatasetError for two with the same."""
    named: dict[str, Path] = {}
    for path in paths:
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in named:
            raise DatasetError(
                f"{named[name]} and {path} have one name, so that HR and LR cannot be told apart; take one of them away"
            )
        named[name] = path
    return named


def _hr_folder(folder: Path) -> Path:
    return folder / "HR" if (folder / "HR").is_dir() else folder


def _lr_folder(hr_folder: Path, scale: int) -> Path | None:
    """`LR` for `HR`, `…_LR` or `…_LR_bicubic` for `…_HR`; in it `X4`, where pictures are sorted by scale."""
    name = hr_folder.resolve().name
    if not name.endswith("HR"):
        return None
    for suffix in ("LR", "LR_bicubic"):
        lr_folder = hr_folder.resolve().with_name(name.removesuffix("HR") + suffix)
        if not lr_folder.is_dir():
            continue
        for of_scale in (lr_folder / f"X{scale}", lr_folder / f"x{scale}"):
            if of_scale.is_dir():
                return of_scale
        if not any(re.fullmatch(r"[xX]\d", path.name) for path in lr_folder.iterdir()):
            return lr_folder
    return None
