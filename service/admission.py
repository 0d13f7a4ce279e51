"""Whether the service takes one more upload. Asked before the first byte of its body is received.

Their pixels and the age of the first are measured once a second by each gateway, since Redis walks through the whole queue for the pixels,
and RQ leaves no place where a total could be kept true: what its clients send within a second may go past those two bounds. The jobs
that wait are counted for every upload when there are nearly as many as may be.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi.concurrency import run_in_threadpool

from service.auth import Caller
from service.errors import QUEUE_FULL, TOO_MANY_UPLOADS, ProblemError
from service.estimates import Estimates
from service.idempotency import IdempotencyKeys
from service.limits import Limits
from service.quotas import MEGAPIXEL, Quotas
from worker.contract.jobs import Priority
from worker.contract.queue import JobQueue, QueueStatistics

MEASURED_FOR_S = 1.0
"""How long a measurement of the queue is good. It takes 1.3 ms while a thousand jobs wait, the count 0.13 ms."""


SURE_SHARE = 0.9
"""Of the jobs that may wait. Beyond it they are counted for every upload, since other gateways send some too."""


@dataclass(frozen=True)
class _Measured:
    at_s: float
    standing: QueueStatistics
    admitted: int

    @property
    def old(self) -> bool:
        return time.monotonic() - self.at_s >= MEASURED_FOR_S


class Admission:
    """Lets uploads in while there is room for them, and for their jobs."""

    def __init__(
        self,
        queue: JobQueue,
        quotas: Quotas,
        idempotency: IdempotencyKeys,
        estimates: Estimates,
        limits: Limits,
    ) -> None:
        self._queue = queue
        self._quotas = quotas
        self._idempotency = idempotency
        self._estimates = estimates
        self._limits = limits
        self._uploads = 0
        self._admitted = 0
        self._measured: _Measured | None = None

    @asynccontextmanager
    async def admitted(self, caller: Caller, idempotency_key: str | None = None) -> AsyncIterator[None]:
        """Within it, the caller's upload may be received and made a job.

        Raises ProblemError if as many uploads are under way as may be, or too many jobs wait, the caller's or all; and
        QueueUnavailableError. A request that was sent before is let in by a full queue, so that it hears what became of it.
        """
        # Counted on the event loop alone, and so without a lock.
        if self._uploads >= self._limits.max_uploads:
            raise ProblemError(TOO_MANY_UPLOADS)
        self._uploads += 1
        try:
            if not self._surely_room(caller):
                await run_in_threadpool(self.check, caller, idempotency_key)
            self._admitted += 1
            yield
        finally:
            self._uploads -= 1

    def check(self, caller: Caller, idempotency_key: str | None = None) -> None:
        """Whether there is room for one more job. Blocks; raises as :meth:`admitted` does."""
        if self._idempotency.known(caller.id, idempotency_key):
            return
        self._quotas.check_room(caller)
        self._check_queue()

    def _surely_room(self, caller: Caller) -> bool:
        """Whether it goes without asking Redis, and so without a thread: most of the time, and a fifth of what accepting costs."""
        measured = self._measured
        if measured is None or measured.old or self._quotas.bounds_queue(caller):
            return False
        since = (
            self._admitted - measured.admitted + self._uploads
        )  # some of those under way were admitted before
        waiting = sum(measured.standing.waiting.values()) + since
        return waiting < SURE_SHARE * self._limits.max_queued_jobs and not self._excess(measured.standing)

    def _check_queue(self) -> None:
        limits = self._limits
        if self._queue.waiting() >= limits.max_queued_jobs:
            raise self._full(f"{limits.max_queued_jobs} jobs wait")
        if excess := self._excess(self.standing()):
            raise self._full(excess)

    def _excess(self, standing: QueueStatistics) -> str | None:
        """What there is too much of besides jobs."""
        limits = self._limits
        if standing.backlog.work_px >= limits.max_queued_pixels:
            return f"{limits.max_queued_pixels / MEGAPIXEL:.6g} megapixels wait"
        if standing.oldest_waiting_s.get(Priority.INTERACTIVE, 0.0) >= limits.max_queue_age_s:
            return f"The first in line has waited for {limits.max_queue_age_s:.6g} s"
        return None

    def standing(self) -> QueueStatistics:
        """How the queue stood less than a second ago."""
        measured = self._measured
        if measured is None or measured.old:
            # Threads that come at once each measure: a lock would line them up behind a Redis that hangs.
            began_s, admitted = time.monotonic(), self._admitted
            self._measured = measured = _Measured(began_s, self._queue.statistics(), admitted)
        return measured.standing

    def _full(self, reason: str) -> ProblemError:
        room_s = self._estimates.room_after_s(self.standing().backlog)
        headers = {} if room_s is None else {"Retry-After": str(room_s)}
        return ProblemError(QUEUE_FULL, f"{reason}, or more. {QUEUE_FULL.fix}", headers=headers)
