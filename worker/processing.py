"""One job from its upload in the blob store to its result there."""

import hashlib
from collections.abc import Callable

from worker.contract.blobs import BlobMissingError, BlobStore, BlobStoreError
from worker.contract.jobs import JobResult, Priority, UpscaleJob
from worker.contract.logs import job_in_log
from worker.errors import InputMissingError, StorageError
from worker.pipeline import Pipeline, UpscaleRequest


class JobProcessor:
    """Fetches, enlarges, stores. Thread-safe."""

    def __init__(self, blobs: BlobStore, pipeline: Pipeline, *, keep_inputs: bool = False) -> None:
        self._blobs = blobs
        self._pipeline = pipeline
        self._keep_inputs = keep_inputs

    def process(
        self, job: UpscaleJob, on_progress: Callable[[float], None], canceled: Callable[[], bool]
    ) -> JobResult:
        """Make the job's result and store it. Raises a :class:`worker.errors.JobError`.

        Doing it twice is harmless: the same result is written to the same key.
        """
        with job_in_log(job.id):
            return self._process(job, on_progress, canceled)

    def _process(
        self, job: UpscaleJob, on_progress: Callable[[float], None], canceled: Callable[[], bool]
    ) -> JobResult:
        try:
            content = self._blobs.get(job.input_key)
        except BlobMissingError as error:
            raise InputMissingError from error
        except BlobStoreError as error:
            raise StorageError(f"The upload cannot be fetched: {error}") from error
        request = UpscaleRequest(
            content,
            job.model,
            job.scale,
            job.output_format,
            job.quality,
            job.ensemble,
            background=job.priority is Priority.BULK,
            reading=job.reading,
            finish=job.finish,
            input_px=job.input.pixels,
        )
        upscaled = self._pipeline.upscale(request, on_progress, canceled)
        try:
            self._blobs.put(job.result_key, upscaled.content, upscaled.output_format.media_type)
        except BlobStoreError as error:
            raise StorageError(f"The result cannot be stored: {error}") from error
        return JobResult(
            media_type=upscaled.output_format.media_type,
            width_px=upscaled.width_px,
            height_px=upscaled.height_px,
            size_bytes=len(upscaled.content),
            sha256=hashlib.sha256(upscaled.content).hexdigest(),
            checkpoint=upscaled.checkpoint,
            checkpoint_sha256=upscaled.checkpoint_sha256,
            decode_s=upscaled.decode_s,
            upscale_s=upscaled.upscale_s,
            encode_s=upscaled.encode_s,
            notes=upscaled.notes,
        )

    def erase(self, job: UpscaleJob) -> None:
        """Erase what a canceled job left. Raises BlobStoreError."""
        self._blobs.erase(job.prefix)

    def erase_input(self, job: UpscaleJob) -> None:
        """Erase the upload of a job that has ended, unless uploads are kept. Raises BlobStoreError."""
        if not self._keep_inputs:
            self._blobs.delete(job.input_key)
