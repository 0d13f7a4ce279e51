"""A group's ZIP, as others read it."""

import io
import json
import zipfile

import pytest

from service.archive import Entry, Missing, archive
from worker.contract.blobs import BlobMissingError, BlobStore
from worker.contract.jobs import JobFailure


@pytest.fixture
def blobs() -> BlobStore:
    blobs = BlobStore.from_url("memory:///")
    blobs.put("a", b"first" * 1000)
    blobs.put("b", b"second")
    return blobs


def test_it_holds_what_it_should_and_knows_its_length(blobs: BlobStore) -> None:
    entries = [Entry("grüße_x2.png", "a", 5000), Entry("x.jpg", "b", 6), Entry("X.jpg", "a", 5000)]
    missing = [Missing(1, "notes.txt", JobFailure("unsupported_image", "no picture", retryable=False))]
    stream = archive(blobs, entries, missing)
    length = len(stream)
    content = b"".join(stream)
    assert len(content) == length
    with zipfile.ZipFile(io.BytesIO(content)) as read:
        assert read.testzip() is None
        assert read.namelist() == ["grüße_x2.png", "x.jpg", "X-2.jpg", "errors.json"]
        assert read.read("grüße_x2.png") == b"first" * 1000
        (told,) = json.loads(read.read("errors.json"))
        assert told == {
            "index": 1,
            "filename": "notes.txt",
            "code": "unsupported_image",
            "message": "no picture",
            "retryable": False,
        }


def test_a_picture_may_be_called_like_the_list_of_errors(blobs: BlobStore) -> None:
    missing = [Missing(0, "", JobFailure("a", "b", retryable=False))]
    content = b"".join(archive(blobs, [Entry("errors.json", "a", 5000)], missing))
    assert zipfile.ZipFile(io.BytesIO(content)).namelist() == ["errors-2.json", "errors.json"]
    content = b"".join(archive(blobs, [Entry("errors.json", "a", 5000)], []))
    assert zipfile.ZipFile(io.BytesIO(content)).namelist() == ["errors.json"]


def test_blobs_are_opened_one_after_the_other(blobs: BlobStore) -> None:
    stream = iter(archive(blobs, [Entry("a", "a", 5000), Entry("c", "c", 5)], []))
    first = next(stream)
    assert first
    with pytest.raises(BlobMissingError):
        list(stream)
