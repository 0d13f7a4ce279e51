import subprocess
import sys
from pathlib import Path

import pytest

from enlarger.data_folder import (
    SOCKET_PATH_BYTES,
    DataFolderBusyError,
    DataFolderError,
    default_data_folder,
    locked_data_folder,
    socket_of,
)
from worker.contract.blobs import BlobStore


def test_the_folder_is_this_users_alone(tmp_path: Path) -> None:
    with locked_data_folder(tmp_path / "new" / "data", "a test") as data:
        assert data.path.stat().st_mode & 0o777 == 0o700
        assert data.socket.parent.stat().st_mode & 0o777 == 0o700


def test_a_held_folder_is_refused_with_its_holder(tmp_path: Path) -> None:
    with (
        locked_data_folder(tmp_path, "the first"),
        pytest.raises(DataFolderBusyError, match="is in use by the first: stop it"),
        locked_data_folder(tmp_path, "the second"),
    ):
        pass
    with locked_data_folder(tmp_path, "the third"):
        assert (tmp_path / "lock").read_text() == "the third"


def test_a_process_that_inherits_the_lock_holds_it(tmp_path: Path) -> None:
    with locked_data_folder(tmp_path, "the parent") as data:
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[data.lock_fd]
        )
    with pytest.raises(DataFolderBusyError), locked_data_folder(tmp_path, "the next"):
        pass
    child.communicate(b"\n")
    with locked_data_folder(tmp_path, "the last"):
        pass


def test_a_folder_too_deep_for_a_socket_gets_one_elsewhere(tmp_path: Path) -> None:
    with locked_data_folder(tmp_path / ("d" * 100), "a test") as data:
        socket = data.socket
        assert len(bytes(socket)) <= SOCKET_PATH_BYTES
        assert socket.parent.stat().st_mode & 0o777 == 0o700
    assert not socket.parent.exists()


def test_a_socket_elsewhere_is_found_by_a_link(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "valkey.sock").symlink_to("/left/by/a/killed/stack")
    with locked_data_folder(tmp_path, "a test") as data:
        assert socket_of(tmp_path) == data.socket
    assert not (tmp_path / "valkey.sock").is_symlink()
    assert socket_of(tmp_path) == tmp_path / "valkey.sock"


def test_a_folder_that_others_may_enter_keeps_no_socket(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with locked_data_folder(tmp_path, "a test") as data:
        assert data.socket.parent != tmp_path


def test_the_blobs_url_survives_odd_names(tmp_path: Path) -> None:
    with locked_data_folder(tmp_path / "my data #1 100%", "a test") as data:
        BlobStore.from_url(data.blobs_url).put("a", b"b")
        assert (data.path / "blobs" / "a").read_bytes() == b"b"


def test_a_file_is_no_data_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with (
        pytest.raises(DataFolderError, match="cannot be used"),
        locked_data_folder(tmp_path / "file", "a test"),
    ):
        pass


def test_the_default_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_data_folder() == tmp_path / "enlarger"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert default_data_folder() == Path.home() / ".local" / "share" / "enlarger"
