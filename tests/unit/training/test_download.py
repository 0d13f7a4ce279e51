import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.unit.training.file_server import FileServer, serving
from training.download import TRIES, DownloadError, download

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
WAIT_S = 0.001


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving({"a.zip": CONTENT}) as server:
        yield server


def fetched(server: FileServer, folder: Path) -> bytes:
    download(f"{server.url}/a.zip", folder / "a.zip", SHA256, WAIT_S)
    assert [path.name for path in folder.iterdir()] == ["a.zip"]
    return (folder / "a.zip").read_bytes()


def test_a_file_is_fetched_once(server: FileServer, tmp_path: Path) -> None:
    assert fetched(server, tmp_path) == CONTENT
    assert fetched(server, tmp_path) == CONTENT
    assert server.asked == [""]


def test_a_cut_connection_is_gone_on_with(server: FileServer, tmp_path: Path) -> None:
    server.cuts_bytes = [2_000_000, 500_000]
    assert fetched(server, tmp_path) == CONTENT
    assert server.asked == ["", "bytes=2000000-", "bytes=2500000-"]


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(server: FileServer, tmp_path: Path) -> None:
    server.cuts_bytes = [2_000_000] + [0] * TRIES
    with pytest.raises(DownloadError, match=r"a\.zip cannot be fetched: .* 2\.0 MB are kept"):
        fetched(server, tmp_path)
    server.cuts_bytes = []
    server.asked.clear()
    assert fetched(server, tmp_path) == CONTENT
    assert server.asked == ["bytes=2000000-"]


def test_a_process_that_was_killed_before_the_last_move_fetches_nothing_again(
    server: FileServer, tmp_path: Path
) -> None:
    fetched(server, tmp_path)
    (tmp_path / "a.zip").rename(tmp_path / "a.zip.partial")
    (tmp_path / "a.zip.partial.version").write_text(f'"{SHA256[:8]}"')
    server.asked.clear()
    assert fetched(server, tmp_path) == CONTENT
    assert server.asked == ["bytes=3000000-"]


def test_another_version_of_the_file_is_not_mixed_with_the_first(server: FileServer, tmp_path: Path) -> None:
    server.files["a.zip"] = b"older" * 400_000
    server.cuts_bytes = [1_500_000] + [0] * TRIES
    with pytest.raises(DownloadError):
        fetched(server, tmp_path)
    server.files["a.zip"] = CONTENT
    server.cuts_bytes = []
    assert fetched(server, tmp_path) == CONTENT


@pytest.mark.parametrize("lacking", ["ranges", "etags"])
def test_a_server_that_cannot_resume_is_asked_for_the_whole(
    server: FileServer, tmp_path: Path, lacking: str
) -> None:
    setattr(server, lacking, False)
    server.cuts_bytes = [1_000_000]
    assert fetched(server, tmp_path) == CONTENT


def test_a_server_that_is_busy_is_asked_again(server: FileServer, tmp_path: Path) -> None:
    server.statuses = [503, 429, 500]
    assert fetched(server, tmp_path) == CONTENT


def begun(folder: Path, version: str) -> Path:
    """What an earlier call left: the first 2 MB."""
    (folder / "a.zip.partial.version").write_text(version)
    partial = folder / "a.zip.partial"
    partial.write_bytes(CONTENT[:2_000_000])
    return partial


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (b"<html>log in</html>", "text/html; charset=utf-8", r"a web page came instead of the file"),
        (b"<html>" + b" " * 4_000_000, "Text/HTML", r"a web page came instead of the file"),
        (b"{}", "application/json", r"another file is there now, of 0\.0 MB where 2\.0 MB had come"),
    ],
)
def test_an_answer_that_is_not_the_file_costs_nothing_that_came(
    server: FileServer, tmp_path: Path, content: bytes, kind: str, message: str
) -> None:
    partial = begun(tmp_path, f'"{SHA256[:8]}"')
    server.files["a.zip"], server.headers = content, {"Content-Type": kind}
    with pytest.raises(DownloadError, match=message):
        fetched(server, tmp_path)
    assert partial.read_bytes() == CONTENT[:2_000_000]
    server.files["a.zip"], server.headers = CONTENT, {}
    server.asked.clear()
    assert fetched(server, tmp_path) == CONTENT
    assert server.asked == ["bytes=2000000-"]


def test_a_version_that_no_header_can_send_back_is_none(server: FileServer, tmp_path: Path) -> None:
    server.headers = {"ETag": '"\xe9"'}
    server.cuts_bytes = [2_000_000]
    assert fetched(server, tmp_path) == CONTENT
    assert server.asked == ["", ""]


@pytest.mark.parametrize(
    "address", ["ftp://host/a.zip", "mailto:somebody", "http://a..b/a.zip", "http://xn--/a.zip"]
)
def test_a_redirect_to_nowhere_is_said_at_once(server: FileServer, tmp_path: Path, address: str) -> None:
    server.statuses, server.headers = [302] * TRIES, {"Location": address}
    with pytest.raises(DownloadError, match=r"a\.zip cannot be fetched: .* an address that cannot be used"):
        fetched(server, tmp_path)
    assert len(server.asked) == 1


def test_a_file_that_was_there_is_checked_and_stays(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"mine")
    with pytest.raises(DownloadError, match=rf"a\.zip has SHA-256 .*, not {SHA256}: .*move it away"):
        fetched(server, tmp_path)
    assert (tmp_path / "a.zip").read_bytes() == b"mine"
    assert server.asked == []


def test_a_wrong_range_is_answered_by_starting_again(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "a.zip.partial").write_bytes(CONTENT + b"too much")
    (tmp_path / "a.zip.partial.version").write_text(f'"{SHA256[:8]}"')
    assert fetched(server, tmp_path) == CONTENT


def test_wrong_bytes_are_deleted(server: FileServer, tmp_path: Path) -> None:
    server.files["a.zip"] = CONTENT[:-1] + b"?"
    with pytest.raises(DownloadError, match=rf"has SHA-256 [0-9a-f]{{64}}, not {SHA256}.*It was deleted"):
        fetched(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_not_asked_for_twice(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"b\.zip cannot be fetched: the server answered 404"):
        download(f"{server.url}/b.zip", tmp_path / "b.zip", SHA256, WAIT_S)
    assert len(server.asked) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/a.zip", "ftp://127.0.0.1/a.zip", "http://[/a.zip"])
def test_an_address_that_nobody_answers_at_is_named(tmp_path: Path, url: str) -> None:
    with pytest.raises(DownloadError, match="cannot be fetched"):
        download(url, tmp_path / "a.zip", SHA256, WAIT_S)


def test_a_full_disk_is_said_and_what_came_is_kept(server: FileServer, tmp_path: Path) -> None:
    """The limit on a file's size stands in for the disk's: the same call fails, in a process of its own."""
    program = (
        "import resource, sys, pathlib\n"
        "from training.download import download\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, resource.RLIM_INFINITY))\n"
        f"download({f'{server.url}/a.zip'!r}, pathlib.Path({str(tmp_path / 'a.zip')!r}), {SHA256!r})\n"
    )
    failed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "DownloadError" in failed.stderr
    assert "a.zip cannot be written" in failed.stderr
    kept = (tmp_path / "a.zip.partial").stat().st_size
    assert 0 < kept <= 2_000_000
    assert fetched(server, tmp_path) == CONTENT
    assert server.asked == ["", f"bytes={kept}-"]
