"""Every blob store through one suite: memory, a folder, and S3 as moto's server speaks it."""

import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from worker.contract.blobs import BlobMissingError, BlobStore, BlobStoreError


@pytest.fixture(params=["memory", "folder", "s3"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    urls = {"memory": "memory:///", "folder": (tmp_path / "a folder").as_uri()}
    return BlobStore.from_url(urls.get(request.param) or request.getfixturevalue("s3_url"))


def test_what_was_put_is_got(blobs: BlobStore) -> None:
    blobs.put("jobs/a/input", b"content")
    assert blobs.get("jobs/a/input") == b"content"
    blobs.put("jobs/a/input", b"other")
    assert blobs.get("jobs/a/input") == b"other"
    blobs.put("jobs/a/empty", b"")
    assert blobs.get("jobs/a/empty") == b""


def test_a_file_is_put_from_where_it_stands(blobs: BlobStore) -> None:
    content = os.urandom(3_000_000)
    blobs.put("jobs/a/input", io.BytesIO(content))
    assert blobs.get("jobs/a/input") == content


def test_a_blob_is_streamed_in_pieces(blobs: BlobStore) -> None:
    content = os.urandom(3_000_000)
    blobs.put("jobs/a/result", content)
    stream = blobs.stream("jobs/a/result")
    assert stream.size_bytes == len(content)
    assert b"".join(stream.chunks) == content


def test_what_is_missing_is_said_so(blobs: BlobStore) -> None:
    with pytest.raises(BlobMissingError):
        blobs.get("jobs/a/input")
    with pytest.raises(BlobMissingError):
        blobs.stream("jobs/a/input")


def test_erasing_takes_one_job_and_no_other(blobs: BlobStore) -> None:
    for key in ("jobs/a/input", "jobs/a/result", "jobs/ab/input"):
        blobs.put(key, b"x")
    assert blobs.keys("jobs/a/") == ["jobs/a/input", "jobs/a/result"]
    blobs.erase("jobs/a/")
    blobs.erase("jobs/a/")
    assert blobs.keys("jobs/") == ["jobs/ab/input"]


def test_what_was_not_touched_for_long_can_be_asked_for(blobs: BlobStore) -> None:
    for key in ("jobs/a/input", "jobs/a/result", "jobs/b/input"):
        blobs.put(key, b"x")
    assert blobs.untouched_since("jobs/", datetime.now(UTC) - timedelta(minutes=1)) == []
    assert blobs.untouched_since("jobs/", datetime.now(UTC) + timedelta(minutes=1)) == ["jobs/a/", "jobs/b/"]
    assert blobs.untouched_since("nothing/", datetime.now(UTC)) == []


def test_erasing_takes_what_a_killed_writer_left_and_the_folder(tmp_path: Path) -> None:
    blobs = BlobStore.from_url(tmp_path.as_uri())
    blobs.put("jobs/a/input", b"x")
    half_written = tmp_path / "jobs" / "a" / "result#1"
    half_written.write_bytes(b"half")
    assert blobs.keys("jobs/") == ["jobs/a/input"]
    blobs.erase("jobs/a/")
    assert list((tmp_path / "jobs").iterdir()) == []
    blobs.erase("jobs/a/")


def test_a_reader_never_sees_half_a_write(blobs: BlobStore) -> None:
    versions = [bytes([number]) * 500_000 for number in range(4)]
    blobs.put("k", versions[0])
    done = threading.Event()

    def read() -> set[bytes]:
        seen = set()
        while not done.is_set():
            seen.add(blobs.get("k"))
        return seen

    with ThreadPoolExecutor(1) as threads:
        reader = threads.submit(read)
        for version in versions * 3:
            blobs.put("k", version)
        done.set()
        assert reader.result(60) <= set(versions)


def test_the_store_answers(blobs: BlobStore) -> None:
    blobs.ping()
    assert blobs.keys("") == []


@pytest.mark.parametrize("url", ["", "/a/folder", "ftp://host/x", "file:", "s3://"])
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(BlobStoreError, match=r"expected|:"):
        BlobStore.from_url(url)


def test_a_store_that_is_gone_is_said_so(tmp_path: Path) -> None:
    blobs = BlobStore.from_url((tmp_path / "blobs").as_uri())
    (tmp_path / "blobs").rmdir()
    (tmp_path / "blobs").write_text("a file where the folder was")
    with pytest.raises(BlobStoreError):
        blobs.put("jobs/a/input", b"x")


@pytest.mark.parametrize("key", ["jobs/../../etc/passwd", "../outside", "jobs/\0/input", "jobs//input"])
def test_what_cannot_be_a_key_is_refused(blobs: BlobStore, key: str) -> None:
    for operation in (
        lambda: blobs.put(key, b"content"),
        lambda: blobs.get(key),
        lambda: blobs.stream(key),
    ):
        with pytest.raises(BlobStoreError):
            operation()


def test_a_copy_outlives_what_it_was_made_of(blobs: BlobStore) -> None:
    blobs.put("jobs/a/result", b"content")
    blobs.copy("jobs/a/result", "jobs/b/result")
    blobs.copy("jobs/a/result", "jobs/b/result")
    blobs.erase("jobs/a/")
    assert blobs.get("jobs/b/result") == b"content"
    with pytest.raises(BlobMissingError):
        blobs.copy("jobs/a/result", "jobs/c/result")
    assert blobs.keys("jobs/c/") == []


@pytest.mark.parametrize(
    "part", [range(1), range(3, 7), range(2_000_000, 3_000_000), range(2_999_999, 3_000_000)]
)
def test_a_part_is_streamed(blobs: BlobStore, part: range) -> None:
    content = os.urandom(3_000_000)
    blobs.put("jobs/a/result", content)
    stream = blobs.stream("jobs/a/result", part)
    assert b"".join(stream.chunks) == content[part.start : part.stop]
    assert stream.size_bytes == len(content)


def test_only_s3_has_urls_of_its_own(blobs: BlobStore, request: pytest.FixtureRequest) -> None:
    blobs.put("jobs/a/result", b"a picture", "image/webp")
    url = blobs.presigned_url("jobs/a/result", 60)
    if "s3" not in request.node.callspec.id:
        assert url is None
        return
    assert url is not None
    answer = httpx.get(url, trust_env=False)
    assert (answer.content, answer.headers["content-type"]) == (b"a picture", "image/webp")
    assert "X-Amz-Expires=60" in url
    with pytest.raises(BlobMissingError):
        blobs.presigned_url("jobs/b/result", 60)
