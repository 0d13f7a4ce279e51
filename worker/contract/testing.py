"""In-memory twins of the ports, and the suites that every implementation passes.

Shipped with the contract, so that whoever writes another implementation can run the same suite.
"""

import time
from dataclasses import replace
from typing import Protocol

from worker.contract.fleet import LiveWorker
from worker.contract.jobs import (
    InputPicture,
    JobFailure,
    JobRecord,
    JobResult,
    JobStatus,
    PictureFormat,
    UpscaleJob,
)
from worker.contract.queue import DuplicateJobError, JobQueue


def sample_job(job_id: str) -> UpscaleJob:
    """A valid job for tests."""
    picture = InputPicture(PictureFormat.PNG, 40, 30, 1200, "00" * 32, "photo.png")
    return UpscaleJob(job_id, "espcn", 2, PictureFormat.PNG, None, picture, time.time())


def sample_result() -> JobResult:
    """A valid result of :func:`sample_job` for tests."""
    return JobResult("image/png", 80, 60, 4800, "11" * 32, "espcn-x2@1", "22" * 32, 0.01, 0.02, 0.03)


class InMemoryJobQueue:
    """Jobs in a dictionary, for tests of the gateway."""

    def __init__(self) -> None:
        self._records: dict[str, JobRecord] = {}

    def submit(self, job: UpscaleJob) -> None:
        """See :class:`JobQueue`."""
        if job.id in self._records:
            raise DuplicateJobError(job.id)
        self._records[job.id] = JobRecord(job, JobStatus.QUEUED, 0.0)

    def find(self, job_id: str) -> JobRecord | None:
        """See :class:`JobQueue`."""
        return self._records.get(job_id)

    def cancel(self, job_id: str) -> None:
        """See :class:`JobQueue`."""
        record = self._records.get(job_id)
        if record is not None and not record.status.final:
            self._records[job_id] = replace(record, status=JobStatus.CANCELED, ended_at=time.time())

    def forget(self, job_id: str) -> None:
        """See :class:`JobQueue`."""
        self._records.pop(job_id, None)

    def waiting(self) -> int:
        """See :class:`JobQueue`."""
        return sum(record.status is JobStatus.QUEUED for record in self._records.values())

    def ping(self) -> None:
        """See :class:`JobQueue`."""

    def start(self, job_id: str) -> None:
        """As a worker: take the job."""
        self._change(job_id, status=JobStatus.PROCESSING, started_at=time.time())

    def report(self, job_id: str, progress: float) -> None:
        """As a worker: say how far the job is."""
        self._change(job_id, progress=progress)

    def succeed(self, job_id: str, result: JobResult) -> None:
        """As a worker: end the job well."""
        self._change(job_id, status=JobStatus.SUCCEEDED, progress=1.0, ended_at=time.time(), result=result)

    def fail(self, job_id: str, failure: JobFailure) -> None:
        """As a worker: end the job badly."""
        self._change(job_id, status=JobStatus.FAILED, ended_at=time.time(), failure=failure)

    def _change(self, job_id: str, **changes: object) -> None:
        record = self._records[job_id]
        if not record.status.final:
            self._records[job_id] = replace(record, **changes)  # type: ignore[arg-type]


class InMemoryFleet:
    """As many workers as a test wants."""

    def __init__(self, names: tuple[str, ...] = ("worker-1",)) -> None:
        self.names = names

    def live_workers(self) -> list[LiveWorker]:
        """See :class:`worker.contract.fleet.Fleet`."""
        return [LiveWorker(name, "localhost", "idle") for name in self.names]


class WorkerSide(Protocol):
    """How a suite makes things happen to the jobs of the queue under test."""

    def start(self, job_id: str) -> None:
        """Take the job and hold it."""

    def report(self, job_id: str, progress: float) -> None:
        """Say how far the job is."""

    def succeed(self, job_id: str, result: JobResult) -> None:
        """End the job well."""

    def fail(self, job_id: str, failure: JobFailure) -> None:
        """End the job badly, not to be tried again."""


class JobQueueSuite:
    """What any job queue does. Subclass it in a test module and give the two fixtures."""

    def test_a_submitted_job_waits(self, queue: JobQueue) -> None:
        job = sample_job("a")
        queue.submit(job)
        record = queue.find("a")
        assert record is not None
        assert (record.job, record.status, record.progress) == (job, JobStatus.QUEUED, 0.0)
        assert queue.waiting() == 1

    def test_an_unknown_job_is_none(self, queue: JobQueue) -> None:
        assert queue.find("nobody") is None
        assert queue.find("../../etc:passwd *") is None
        queue.cancel("nobody")
        queue.forget("nobody")
        assert queue.find("nobody") is None

    def test_an_id_is_accepted_once(self, queue: JobQueue) -> None:
        queue.submit(sample_job("a"))
        try:
            queue.submit(sample_job("a"))
        except DuplicateJobError:
            assert queue.waiting() == 1
        else:
            raise AssertionError("the second submit was accepted")

    def test_a_job_runs_and_succeeds(self, queue: JobQueue, worker_side: WorkerSide) -> None:
        queue.submit(sample_job("a"))
        worker_side.start("a")
        worker_side.report("a", 0.5)
        running = queue.find("a")
        assert running is not None
        assert (running.status, running.progress) == (JobStatus.PROCESSING, 0.5)
        assert running.started_at is not None
        assert running.started_at >= running.job.created_at - 1.0
        worker_side.succeed("a", sample_result())
        done = queue.find("a")
        assert done is not None
        assert (done.status, done.progress, done.result) == (JobStatus.SUCCEEDED, 1.0, sample_result())
        assert done.ended_at is not None
        assert done.ended_at >= running.started_at

    def test_a_failure_crosses_as_data(self, queue: JobQueue, worker_side: WorkerSide) -> None:
        failure = JobFailure("picture_damaged", "The picture is cut off.", retryable=False)
        queue.submit(sample_job("a"))
        worker_side.start("a")
        worker_side.fail("a", failure)
        record = queue.find("a")
        assert record is not None
        assert (record.status, record.failure, record.result) == (JobStatus.FAILED, failure, None)

    def test_a_waiting_job_is_canceled_for_good(self, queue: JobQueue) -> None:
        queue.submit(sample_job("a"))
        queue.submit(sample_job("b"))
        queue.cancel("a")
        queue.cancel("a")
        record = queue.find("a")
        assert record is not None
        assert record.status is JobStatus.CANCELED
        assert queue.waiting() == 1

    def test_a_running_job_is_seen_canceled_at_once(self, queue: JobQueue, worker_side: WorkerSide) -> None:
        queue.submit(sample_job("a"))
        worker_side.start("a")
        queue.cancel("a")
        record = queue.find("a")
        assert record is not None
        assert record.status is JobStatus.CANCELED

    def test_an_ended_job_is_not_canceled(self, queue: JobQueue, worker_side: WorkerSide) -> None:
        queue.submit(sample_job("a"))
        worker_side.start("a")
        worker_side.succeed("a", sample_result())
        queue.cancel("a")
        record = queue.find("a")
        assert record is not None
        assert record.status is JobStatus.SUCCEEDED

    def test_a_forgotten_job_is_gone(self, queue: JobQueue, worker_side: WorkerSide) -> None:
        queue.submit(sample_job("a"))
        worker_side.start("a")
        worker_side.succeed("a", sample_result())
        queue.forget("a")
        assert queue.find("a") is None

    def test_the_queue_answers(self, queue: JobQueue) -> None:
        queue.ping()
        assert queue.waiting() == 0
