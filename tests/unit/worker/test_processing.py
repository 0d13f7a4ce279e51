"""A job from its upload in the blob store to its result there."""

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.pictures import encoded, natural_picture
from tests.tiny_checkpoints import publish
from worker.contract.blobs import BlobStore
from worker.contract.jobs import InputFormat, InputPicture, PictureFormat, UpscaleJob
from worker.engine import never_canceled, no_progress
from worker.errors import InputMissingError, StorageError
from worker.pipeline import Pipeline
from worker.processing import JobProcessor


@pytest.fixture
def processor(tmp_path: Path) -> Iterator[tuple[JobProcessor, BlobStore]]:
    publish(tmp_path / "checkpoints")
    blobs = BlobStore.from_url((tmp_path / "blobs").as_uri())
    with Pipeline(tmp_path / "checkpoints", "cpu") as pipeline:
        yield JobProcessor(blobs, pipeline), blobs


def job() -> UpscaleJob:
    picture = InputPicture(InputFormat.PNG, 20, 10, 0, "", "")
    return UpscaleJob("a", "espcn", 2, PictureFormat.WEBP, 80, picture, 0.0)


def test_the_result_lies_under_the_job_and_is_what_the_record_says(
    processor: tuple[JobProcessor, BlobStore],
) -> None:
    process, blobs = processor
    blobs.put(job().input_key, encoded(natural_picture(20, 10), "PNG"))
    result = process.process(job(), no_progress, never_canceled)
    content = blobs.get(job().result_key)
    assert Image.open(io.BytesIO(content)).size == (40, 20) == (result.width_px, result.height_px)
    assert (result.media_type, result.size_bytes) == ("image/webp", len(content))
    assert result.sha256 == hashlib.sha256(content).hexdigest()
    assert result.checkpoint == "espcn-x2@1"
    assert process.process(job(), no_progress, never_canceled).sha256 == result.sha256
    process.erase(job())
    assert blobs.keys("") == []


def test_a_missing_upload_is_final(processor: tuple[JobProcessor, BlobStore]) -> None:
    with pytest.raises(InputMissingError) as error:
        processor[0].process(job(), no_progress, never_canceled)
    assert not error.value.as_failure().retryable


def test_a_store_that_fails_is_tried_again(processor: tuple[JobProcessor, BlobStore], tmp_path: Path) -> None:
    process, blobs = processor
    blobs.put(job().input_key, encoded(natural_picture(20, 10), "PNG"))
    result_path = tmp_path / "blobs" / job().result_key
    result_path.mkdir()  # a folder where the result should be written
    with pytest.raises(StorageError) as error:
        process.process(job(), no_progress, never_canceled)
    assert error.value.as_failure().retryable
    result_path.rmdir()
    assert process.process(job(), no_progress, never_canceled).width_px == 40
