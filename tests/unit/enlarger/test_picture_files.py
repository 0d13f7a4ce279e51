from pathlib import Path

import pytest

from enlarger.picture_files import Enlargement, PlanError, plan_enlargements
from worker.contract.jobs import PictureFormat


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("b.PNG", "a.jpeg", "notes.txt", "trip/c.webp", "trip/deep/d.jpg"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


def targets(plan: list[Enlargement], output: Path) -> list[str]:
    return [str(one.target.relative_to(output)) for one in plan]


def test_a_folder_stands_for_the_pictures_in_it(photos: Path, tmp_path: Path) -> None:
    assert targets(plan_enlargements([photos], tmp_path / "out"), tmp_path / "out") == ["a.jpeg", "b.PNG"]


def test_folders_in_a_folder_keep_their_structure(photos: Path, tmp_path: Path) -> None:
    plan = plan_enlargements([photos], tmp_path / "out", recursive=True)
    assert targets(plan, tmp_path / "out") == ["a.jpeg", "b.PNG", "trip/c.webp", "trip/deep/d.jpg"]
    assert [one.format for one in plan] == [
        PictureFormat.JPEG,
        PictureFormat.PNG,
        PictureFormat.WEBP,
        PictureFormat.JPEG,
    ]


def test_a_given_format_gives_the_suffix(photos: Path, tmp_path: Path) -> None:
    plan = plan_enlargements([photos], tmp_path, output_format=PictureFormat.JPEG)
    assert targets(plan, tmp_path) == ["a.jpeg", "b.jpg"]


def test_a_file_of_another_suffix_becomes_a_png(photos: Path, tmp_path: Path) -> None:
    (one,) = plan_enlargements([photos / "notes.txt"], tmp_path)
    assert (one.target, one.format) == (tmp_path / "notes.png", PictureFormat.PNG)


def test_one_picture_may_be_given_its_name(photos: Path, tmp_path: Path) -> None:
    (one,) = plan_enlargements([photos / "b.PNG"], tmp_path / "large.webp")
    assert (one.target, one.format) == (tmp_path / "large.webp", PictureFormat.WEBP)


def test_earlier_results_inside_the_input_folder_are_no_sources(photos: Path) -> None:
    output = photos / "large"
    output.mkdir()
    (output / "a.jpeg").write_bytes(b"")
    plan = plan_enlargements([photos], output, recursive=True)
    assert not [one.source for one in plan if output in one.source.parents]


def test_two_results_of_one_name_are_told_apart(photos: Path, tmp_path: Path) -> None:
    (photos / "a.png").write_bytes(b"")
    (photos / "a.gif").write_bytes(b"")
    plan = plan_enlargements([photos], tmp_path / "out", output_format=PictureFormat.PNG)
    names = {one.source.name: one.target.name for one in plan}
    assert names["a.png"] == "a.png"
    assert names["a.gif"] == "a.gif.png"
    assert len(set(names.values())) == len(names)


def test_two_results_of_one_name_are_refused(photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (photos / "a.png").write_bytes(b"")
    (other / "a.png").write_bytes(b"")
    with pytest.raises(PlanError, match=r"would both become .*a\.png"):
        plan_enlargements([photos / "a.png", other / "a.png"], tmp_path / "out")


def test_an_input_is_never_overwritten(photos: Path) -> None:
    with pytest.raises(PlanError, match="would be overwritten"):
        plan_enlargements([photos], photos)
    with pytest.raises(PlanError, match="would be overwritten"):
        plan_enlargements([photos / "b.PNG"], photos / "trip" / ".." / "b.PNG")


def test_several_pictures_need_a_folder(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="give a folder"):
        plan_enlargements([photos], tmp_path / "one.png")
    with pytest.raises(PlanError, match="neither a folder nor"):
        plan_enlargements([photos], photos / "notes.txt")


def test_a_name_that_belies_the_format_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="not a webp file's name"):
        plan_enlargements([photos / "b.PNG"], tmp_path / "one.png", output_format=PictureFormat.WEBP)


def test_nothing_to_do_is_said(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no pictures in"):
        plan_enlargements([tmp_path], tmp_path / "out")


@pytest.mark.parametrize("name", ["one.gif", "one.BMP", "one.heic"])
def test_another_kind_of_picture_is_no_folder(tmp_path: Path, name: str) -> None:
    source = tmp_path / "photo.jpg"
    source.touch()
    with pytest.raises(PlanError, match="neither a folder nor"):
        plan_enlargements([source], tmp_path / name)
