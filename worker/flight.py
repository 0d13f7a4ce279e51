"""A job between its admission and its end, and what makes its result meanwhile."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from rq import Queue
from rq.executions import Execution

from worker.batch_job import BatchJob
from worker.contract.jobs import JobResult, UpscaleJob


class Processor(Protocol):
    """What makes a job's result; see :class:`worker.processing.JobProcessor`."""

    def process(
        self, job: UpscaleJob, on_progress: Callable[[float], None], canceled: Callable[[], bool]
    ) -> JobResult:
        """Make and store the result. Raises JobError. Called from many threads."""

    def erase(self, job: UpscaleJob) -> None:
        """Erase what a canceled job left. Raises BlobStoreError."""

    def erase_input(self, job: UpscaleJob) -> None:
        """Erase the upload of a job that has ended, unless it is to be kept. Raises BlobStoreError."""


@dataclass
class Progress:
    """How far a job is, noted by the engine's thread and published by the worker's loop."""

    share: float = 0.0

    def note(self, share: float) -> None:
        """Never falls."""
        self.share = max(self.share, share)


@dataclass(eq=False)
class Flight:
    """A job that was admitted and has not ended."""

    rq_job: BatchJob
    queue: Queue
    job: UpscaleJob
    progress: Progress
    execution: Execution
    alone: bool
    canceled: threading.Event
    future: Future[JobResult]
    admitted_s: float = field(default_factory=time.monotonic)
    published: float = 0.0
    published_s: float = 0.0

    @property
    def done_mmac(self) -> float:
        """What is done of its work, in millions of multiply-adds."""
        made = self.future.done() and self.future.exception() is None
        return self.job.work_mmac * (1.0 if made else self.progress.share)
