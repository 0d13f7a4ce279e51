"""What the figures run on: a real Valkey, a folder of blobs, and our worker with its default settings."""

import io
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from redis import Redis

from sr_models.manifest import Checkpoint, CheckpointFolder, default_checkpoint_folder
from tests.gated_processor import running_worker
from tests.valkey import running_valkey
from worker.contract.blobs import BlobStore
from worker.contract.jobs import InputFormat, InputPicture, JobRecord, JobStatus, PictureFormat, UpscaleJob
from worker.contract.queue import JobQueue
from worker.decoder import DecoderPool
from worker.flight import Processor
from worker.pipeline import Pipeline
from worker.processing import JobProcessor
from worker.settings import WorkerSettings

SCALE = 4
RETENTION_S = 3600
POLL_S = 0.25
"""Seldom, since this process is the worker's too; a job's end is read from its record, not from when it was seen."""


@dataclass(frozen=True)
class Site:
    """A queue, a store and a device."""

    redis: Redis
    queue: JobQueue
    blobs: BlobStore
    device: str

    @property
    def device_kind(self) -> str:
        """cpu, cuda or mps: which bar holds."""
        return self.device.partition(":")[0]

    def job(self, job_id: str, content: bytes, model: str, output_format: PictureFormat) -> UpscaleJob:
        """A job as the gateway would make it, with its upload stored."""
        with Image.open(io.BytesIO(content)) as image:
            file_format = InputFormat((image.format or "").lower())
            picture = InputPicture(file_format, image.width, image.height, len(content), "", "")
        job = UpscaleJob(job_id, model, SCALE, output_format, None, picture, time.time())
        self.blobs.put(job.input_key, content)
        return job

    @contextmanager
    def worker(self, processor: Processor | None = None) -> Iterator[None]:
        """A worker on a thread, with a pipeline of its own unless it is given something else to do."""
        settings = WorkerSettings.model_fields
        with (
            DecoderPool(
                timeout_s=settings["decode_timeout_s"].default,
                memory_bytes=settings["decode_memory_bytes"].default,
            ) as decoders,
            Pipeline(device=self.device, decode=decoders.decode) as pipeline,
            running_worker(
                self.redis,
                processor or JobProcessor(self.blobs, pipeline, keep_inputs=True),
                max_jobs_in_flight=settings["max_jobs_in_flight"].default,
                max_bytes_in_flight=settings["max_bytes_in_flight"].default,
            ),
        ):
            yield

    def seconds_of(self, jobs: Sequence[UpscaleJob]) -> float:
        """What the worker needs for them: from the first one's submission until the last one's result is recorded.

        They may be sent again. Raises RuntimeError where one does not succeed: a figure would mean nothing.
        """
        began_s = time.time()
        for job in jobs:
            self.queue.submit(job)
        ended_s = max(self._end_of(job) for job in jobs)
        for job in jobs:
            self.queue.forget(job.id)
        return ended_s - began_s

    def record(self, job: UpscaleJob) -> JobRecord:
        """The job as it stands. Raises RuntimeError where it ended badly."""
        record = self.queue.find(job.id)
        if record is None or record.status in (JobStatus.FAILED, JobStatus.CANCELED):
            raise RuntimeError(f"job {job.id} did not succeed: {record}")
        return record

    def _end_of(self, job: UpscaleJob) -> float:
        while (ended_s := self.record(job).ended_at) is None:
            time.sleep(POLL_S)
        return ended_s


@contextmanager
def site(device: str) -> Iterator[Site]:
    """A site of one's own, gone afterwards."""
    with (
        running_valkey() as url,
        Redis.from_url(url) as redis,
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
    ):
        queue = JobQueue(redis, job_timeout_s=RETENTION_S, retention_s=RETENTION_S)
        yield Site(redis, queue, BlobStore.from_url(Path(folder).as_uri()), device)


def published(model: str) -> Checkpoint:
    """The version that jobs for that model get."""
    return CheckpointFolder(default_checkpoint_folder()).find(model, SCALE)
