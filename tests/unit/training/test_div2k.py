import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.unit.training.conftest import soft_noise
from tests.unit.training.file_server import FileServer, serving
from training.dataset import read_training_pairs, split_folders
from training.degradation import matlab_bicubic
from training.div2k import SHA256, fetch_div2k, read_checksums
from training.download import DownloadError

WAIT_S = 0.001


def png(samples: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(samples).save(file, "PNG")
    return file.getvalue()


def archive(entries: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name, content in entries.items():
            packed.writestr(name, content)
    return file.getvalue()


def altered(local: int, central: int, value: int) -> bytes:
    """An archive of one picture, with another value in a field that both its headers have, at these offsets."""
    content = bytearray(archive({"DIV2K_train_HR/1.png": b"picture"}))
    content[content.index(b"PK\3\4") + local] = content[content.index(b"PK\1\2") + central] = value
    return bytes(content)


def tiny_div2k() -> dict[str, bytes]:
    """The archives as they are laid out, with two and one pictures in them."""
    archives = {}
    for split, names in (("train", ("0001", "0002")), ("valid", ("0801",))):
        hr = {name: soft_noise(int(name), 48, 64) for name in names}
        folder = f"DIV2K_{split}_HR"
        archives[f"{folder}.zip"] = archive(
            {f"{folder}/": b"", "__MACOSX/._x.png": b"?"}
            | {f"{folder}/{name}.png": png(hr[name]) for name in names}
        )
        lr = f"DIV2K_{split}_LR_bicubic"
        for scale in (2, 4):
            archives[f"{lr}_X{scale}.zip"] = archive(
                {f"{lr}/X{scale}/{n}x{scale}.png": png(matlab_bicubic(hr[n], scale)) for n in names}
            )
    return archives


ARCHIVES = tiny_div2k()


def checksums(server: FileServer) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in server.files.items()}


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(dict(ARCHIVES)) as server:
        yield server


def test_from_the_server_to_pairs_that_can_be_trained_on(server: FileServer, tmp_path: Path) -> None:
    server.cuts_bytes = [1000]
    fetch_div2k(tmp_path, (2, 4), f"{server.url}/", checksums(server), WAIT_S)
    train, valid = split_folders(tmp_path)
    assert valid == tmp_path / "DIV2K_valid_HR"
    assert [p.name for p in read_training_pairs(train, 4)] == ["0001.png", "0002.png"]
    assert (tmp_path / "DIV2K_valid_LR_bicubic/X2/0801x2.png").exists()
    assert {path.name for path in tmp_path.iterdir()} == {
        "DIV2K_train_HR",
        "DIV2K_train_LR_bicubic",
        "DIV2K_valid_HR",
        "DIV2K_valid_LR_bicubic",
    }


def test_what_is_there_is_not_fetched_again(server: FileServer, tmp_path: Path) -> None:
    fetch_div2k(tmp_path, (), server.url, checksums(server), WAIT_S)
    fetch_div2k(tmp_path, (4,), server.url, checksums(server), WAIT_S)
    assert len(server.asked) == 4


def test_the_published_checksums_refuse_anything_else(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=f"not {SHA256['DIV2K_train_HR.zip']}"):
        fetch_div2k(tmp_path, (), server.url, first_wait_s=WAIT_S)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../evil.png", "/evil.png", "DIV2K_train_HR/../../evil.png", "..\\evil.png"]
)
def test_nothing_is_written_outside_of_the_folder(server: FileServer, tmp_path: Path, name: str) -> None:
    server.files["DIV2K_train_HR.zip"] = archive({"DIV2K_train_HR/1.png": b"", name: b"evil"})
    out = tmp_path / "out"
    with pytest.raises(DownloadError, match=r"wants to write to .*evil\.png"):
        fetch_div2k(out, (), server.url, checksums(server), WAIT_S)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "DIV2K_train_HR.zip.fetched"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            archive({"DIV2K_train_HR/1.png": png(soft_noise(0, 64, 64))}).replace(b"IDAT", b"iDAT"),
            "is damaged",
        ),
        (b"<html>not found</html>", "is damaged"),
        (altered(local=8, central=10, value=99), "compression method is not supported"),
        (altered(local=6, central=8, value=1), "is encrypted"),
        (archive({"DIV2K_train_HR/\u00e9.png": b""}).replace("\u00e9".encode(), b"\xff\xfe"), "is damaged"),
        (archive({"other/1.png": b""}), "holds no folder DIV2K_train_HR"),
    ],
)
def test_an_unusable_archive_leaves_no_half_a_dataset(
    server: FileServer, tmp_path: Path, content: bytes, message: str
) -> None:
    server.files["DIV2K_train_HR.zip"] = content
    with pytest.raises(DownloadError, match=message):
        fetch_div2k(tmp_path, (), server.url, checksums(server), WAIT_S)
    assert [path.name for path in tmp_path.iterdir()] == ["DIV2K_train_HR.zip.fetched"]


def test_checksums_are_read_as_sha256sum_writes_them(tmp_path: Path) -> None:
    (tmp_path / "sums").write_text(f"{'a' * 64}  one.zip\n{'B' * 64} *two.zip\n")
    assert read_checksums(tmp_path / "sums") == {"one.zip": "a" * 64, "two.zip": "b" * 64}


@pytest.mark.parametrize(
    "content",
    [b"d41d8cd98f00b204e9800998ecf8427e  md5.zip\n", f"{'a' * 64}  one.zip\n".encode("utf-16"), b"\xff\n"],
)
def test_checksums_of_another_kind_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sums").write_bytes(content)
    with pytest.raises(DownloadError, match="is no line of sha256sum"):
        read_checksums(tmp_path / "sums")


def test_an_archive_that_was_there_is_checked_used_and_kept(server: FileServer, tmp_path: Path) -> None:
    for name in ("DIV2K_train_HR.zip", "DIV2K_valid_HR.zip"):
        (tmp_path / name).write_bytes(ARCHIVES[name])
    (tmp_path / "DIV2K_valid_HR.zip").write_bytes(b"another")
    with pytest.raises(DownloadError, match=r"DIV2K_valid_HR\.zip has SHA-256 .*move it away"):
        fetch_div2k(tmp_path, (), server.url, checksums(server), WAIT_S)
    assert {path.name: path.is_file() and path.read_bytes() for path in tmp_path.iterdir()} == {
        "DIV2K_train_HR": False,
        "DIV2K_train_HR.zip": ARCHIVES["DIV2K_train_HR.zip"],
        "DIV2K_valid_HR.zip": b"another",
    }
    assert server.asked == []


def test_unpacking_that_was_interrupted_fetches_nothing_again(server: FileServer, tmp_path: Path) -> None:
    for name in ("DIV2K_train_HR.zip", "DIV2K_valid_HR.zip"):
        (tmp_path / f"{name}.fetched").write_bytes(ARCHIVES[name])
    fetch_div2k(tmp_path, (), server.url, checksums(server), WAIT_S)
    assert {path.name for path in tmp_path.iterdir()} == {"DIV2K_train_HR", "DIV2K_valid_HR"}
    assert server.asked == []


def test_an_archive_without_a_checksum_is_not_fetched(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"DIV2K_train_HR\.zip has no checksum"):
        fetch_div2k(tmp_path, (), server.url, {}, WAIT_S)
    assert server.asked == []
