"""A processor that does to each job what a test tells it, when it tells it."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any

from redis import Redis
from rq.exceptions import StopRequested
from rq.worker import WorkerStatus

from worker.contract.jobs import JobFailure, JobResult, UpscaleJob
from worker.errors import CanceledError, JobError
from worker.flight import Processor
from worker.metrics import WorkerMetrics
from worker.rq_worker import BatchWorker

Order = tuple[str, float | JobResult | JobFailure]


class ToldError(JobError):
    """A failure that the test made up."""

    def __init__(self, failure: JobFailure) -> None:
        super().__init__(failure.message)
        self.code = failure.code  # type: ignore[misc]
        self.retryable = failure.retryable  # type: ignore[misc]


class GatedProcessor:
    """Holds each job until told how it ends."""

    def __init__(self) -> None:
        self.orders: dict[str, SimpleQueue[Order]] = defaultdict(SimpleQueue)
        self.running: set[str] = set()
        self.started: list[str] = []
        self.erased: list[str] = []
        self.inputs_erased: list[str] = []

    def process(
        self, job: UpscaleJob, on_progress: Callable[[float], None], canceled: Callable[[], bool]
    ) -> JobResult:
        self.started.append(job.id)
        self.running.add(job.id)
        try:
            while not canceled():
                try:
                    order, value = self.orders[job.id].get(timeout=0.01)
                except Empty:
                    continue
                if order == "report":
                    assert isinstance(value, float)
                    on_progress(value)
                elif isinstance(value, JobResult):
                    return value
                elif isinstance(value, JobFailure):
                    raise ToldError(value)
            raise CanceledError
        finally:
            self.running.discard(job.id)

    def open_gates(self) -> None:
        """Let every job that runs end."""
        for job_id in list(self.running):
            self.orders[job_id].put(("fail", JobFailure("test_over", "The test is over.", False)))

    def erase(self, job: UpscaleJob) -> None:
        self.erased.append(job.id)

    def erase_input(self, job: UpscaleJob) -> None:
        self.inputs_erased.append(job.id)


class ThreadedWorker(BatchWorker):
    """A worker that a test can run on a thread: only the main thread may install signal handlers."""

    def _install_signal_handlers(self) -> None:
        pass

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        super().heartbeat(timeout, pipeline)
        if self._stop_requested and self.get_state() == WorkerStatus.IDLE and pipeline is None:
            raise StopRequested

    def stop_softly(self) -> None:
        """As SIGTERM does."""
        self._stop_requested = True


@contextmanager
def running_worker(
    redis: Redis,
    processor: Processor,
    *,
    max_jobs_in_flight: int = 4,
    max_bytes_in_flight: int = 1 << 30,
    lease_s: int = 16,
    faults: Callable[[], list[str]] = list,
    metrics: WorkerMetrics | None = None,
) -> Iterator[ThreadedWorker]:
    """A worker on a thread, stopped when the test is done with it."""
    worker = ThreadedWorker(
        redis,
        processor,
        max_jobs_in_flight=max_jobs_in_flight,
        max_bytes_in_flight=max_bytes_in_flight,
        lease_s=lease_s,
        retention_s=600,
        metrics=metrics,
        faults=faults,
    )
    thread = threading.Thread(target=worker.work, kwargs={"logging_level": "WARNING"}, daemon=True)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop_softly()
        if isinstance(processor, GatedProcessor):
            processor.open_gates()
        thread.join(timeout=30)
        assert not thread.is_alive()
