"""What the clients of many jobs see: each job's final state, and whether it ever changed."""

import itertools
import threading
from collections import Counter
from types import TracebackType
from typing import Self

from tests.eventually import eventually
from worker.contract.jobs import JobRecord, JobStatus
from worker.contract.queue import JobQueue, QueueUnavailableError

LOOK_EVERY_S = 0.1
ENDED_EVERY = 20
"""Jobs that have ended are looked at so much more seldom: a thousand of them would keep a core busy."""
LONGEST_S = 150.0
"""Of waiting for jobs: what a worker had taken from the queue and not yet started when it died is found after a minute."""


class Ledger:
    """Polls every job for as long as it is open, on a thread of its own: those that have ended too."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._ids: list[str] = []
        self._finals: dict[str, JobRecord] = {}
        self._changed: list[str] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join()
        if error is None:
            self._look(self.ids)
            assert self._changed == []

    def add(self, job_id: str) -> None:
        """Watch this job from now on."""
        self._ids.append(job_id)

    @property
    def ids(self) -> list[str]:
        """Every job, in the order of their coming."""
        return list(self._ids)

    @property
    def finals(self) -> dict[str, JobRecord]:
        """The jobs that have ended, as they were first seen so."""
        return dict(self._finals)

    def counts(self) -> Counter[JobStatus]:
        """How many ended in which way."""
        return Counter(record.status for record in self.finals.values())

    def wait_until_ended(self, *job_ids: str, timeout_s: float = LONGEST_S) -> None:
        """Return when these jobs, or all, have ended. Raises AssertionError with what has not."""
        wanted = set(job_ids or self._ids)

        def ended() -> bool:
            assert self._thread.is_alive(), "the ledger's thread died"
            return wanted <= self._finals.keys()

        try:
            eventually(ended, timeout_s)
        except AssertionError as error:
            waiting = {job_id: self._queue.find(job_id) for job_id in wanted - self._finals.keys()}
            raise AssertionError(f"not ended after {timeout_s:.0f} s: {waiting}") from error

    def _run(self) -> None:
        for number in itertools.count():
            if self._closed.wait(LOOK_EVERY_S):
                return
            ids = self.ids if number % ENDED_EVERY == 0 else [i for i in self.ids if i not in self._finals]
            try:
                self._look(ids)
            except QueueUnavailableError:
                continue  # a test that lets the queue die says so itself

    def _look(self, job_ids: list[str]) -> None:
        for job_id in job_ids:
            record = self._queue.find(job_id)
            before = self._finals.get(job_id)
            if before is not None and record != before:
                self._changed.append(f"{job_id}: {before} became {record}")
            elif record is not None and record.status.final and before is None:
                self._finals[job_id] = record
