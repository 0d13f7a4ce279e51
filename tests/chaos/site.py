"""One queue, one blob store, and the jobs that a test sends to the workers there."""

import hashlib
import io
import itertools
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from PIL import Image
from redis import Redis
from rq.job import Job
from rq.utils import as_text

from tests.chaos.ledger import Ledger
from tests.chaos.worker_process import WorkerProcess
from tests.samples import sample_job
from worker.contract.blobs import BlobStore
from worker.contract.fields import Field
from worker.contract.jobs import InputFormat, InputPicture, JobRecord, JobStatus, PictureFormat
from worker.contract.queue import JobQueue

JOB_TIMEOUT_S = 600
RETENTION_S = 3600


class Site:
    """Where jobs are sent without a gateway between: what it would refuse comes to the worker too."""

    def __init__(self, redis_url: str, blobs_url: str, logs: Path) -> None:
        self.redis_url = redis_url
        self.blobs_url = blobs_url
        self.redis = Redis.from_url(redis_url)
        self.blobs = BlobStore.from_url(blobs_url)
        self.queue = JobQueue(self.redis, job_timeout_s=JOB_TIMEOUT_S, retention_s=RETENTION_S)
        self._logs = logs
        self._numbers = itertools.count()

    def ledger(self) -> Ledger:
        """Watches the jobs that are added to it."""
        return Ledger(self.queue)

    def worker(
        self, name: str = "worker", environment: Mapping[str, str] | None = None, module: str = "worker"
    ) -> WorkerProcess:
        """A worker of this queue and store, not yet started."""
        settings = {"ENLARGER_BLOBS_URL": self.blobs_url, **(environment or {})}
        return WorkerProcess(self.redis_url, self._logs / f"{name}.log", settings, module)

    def submit(
        self,
        picture: bytes,
        *,
        size_px: tuple[int, int] | None = None,
        model: str = "bicubic",
        scale: int = 2,
        output_format: PictureFormat = PictureFormat.PNG,
    ) -> str:
        """Store the picture and queue its job; the job's id. `size_px` is width and height, where its header does not say."""
        job_id = f"job-{next(self._numbers)}"
        if size_px is None:
            with Image.open(io.BytesIO(picture)) as opened:
                size_px = opened.size
        job = replace(
            sample_job(job_id),
            model=model,
            scale=scale,
            output_format=output_format,
            input=InputPicture(
                InputFormat.PNG, *size_px, len(picture), hashlib.sha256(picture).hexdigest(), ""
            ),
            created_at=time.time(),
        )
        self.blobs.put(job.input_key, picture)
        self.queue.submit(job)
        return job_id

    def record(self, job_id: str) -> JobRecord:
        """The job as its client sees it."""
        found = self.queue.find(job_id)
        assert found is not None
        return found

    def in_state(self, status: JobStatus, job_ids: Iterable[str]) -> list[str]:
        """Those of the jobs that are in that state now."""
        return [job_id for job_id in job_ids if self.record(job_id).status is status]

    def held_by(self, worker: WorkerProcess, job_ids: Iterable[str]) -> list[str]:
        """Those of the jobs that the worker has started and not ended; the worker may be paused."""
        held = []
        for job_id in job_ids:
            status, name = self.redis.hmget(Job.key_for(job_id), "status", "worker_name")
            key = f"rq:worker:{as_text(name or b'')}"
            if status == b"started" and self.redis.hget(key, "pid") == b"%d" % worker.pid:
                held.append(job_id)
        return held

    def starts(self, job_id: str) -> int:
        """How often a worker has started the job."""
        return int(self.redis.hget(Job.key_for(job_id), Field.ATTEMPTS) or 0)

    def assert_result_whole(self, record: JobRecord) -> None:
        """What lies in the store is what the job's record says, to the byte."""
        assert record.result is not None, record
        content = self.blobs.get(record.job.result_key)
        assert hashlib.sha256(content).hexdigest() == record.result.sha256
        with Image.open(io.BytesIO(content)) as opened:
            opened.load()
            assert opened.size == (record.result.width_px, record.result.height_px)
