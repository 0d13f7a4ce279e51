"""Whether the service takes one more upload. Asked before the first byte of its body is received.

The jobs that wait are counted for every request. Their pixels and the age of the first are not: Redis walks through the whole queue
for the pixels, and RQ leaves no place where a total could be kept true. They are measured once a second by each gateway, so that what
its clients send within a second may go past those two bounds.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

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
        self._measured: tuple[float, QueueStatistics] | None = None

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
            await run_in_threadpool(self.check, caller, idempotency_key)
            yield
        finally:
            self._uploads -= 1

    def check(self, caller: Caller, idempotency_key: str | None = None) -> None:
        """Whether there is room for one more job. Blocks; raises as :meth:`admitted` does."""
        if self._idempotency.known(caller.id, idempotency_key):
            return
        self._quotas.check_room(caller)
        self._check_queue()

    def _check_queue(self) -> None:
        limits = self._limits
        if self._queue.waiting() >= limits.max_queued_jobs:
            raise self._full(f"{limits.max_queued_jobs} jobs wait")
        standing = self.standing()
        if standing.backlog.work_px >= limits.max_queued_pixels:
            raise self._full(f"{limits.max_queued_pixels / MEGAPIXEL:.6g} megapixels wait")
        if standing.oldest_waiting_s.get(Priority.INTERACTIVE, 0.0) >= limits.max_queue_age_s:
            raise self._full(f"The first in line has waited for {limits.max_queue_age_s:.6g} s")

    def standing(self) -> QueueStatistics:
        """How the queue stood less than a second ago."""
        now_s = time.monotonic()
        if self._measured is None or now_s - self._measured[0] >= MEASURED_FOR_S:
            # Threads that come at once each measure: a lock would line them up behind a Redis that hangs.
            self._measured = now_s, self._queue.statistics()
        return self._measured[1]

    def _full(self, reason: str) -> ProblemError:
        room_s = self._estimates.room_after_s(self.standing().backlog)
        headers = {} if room_s is None else {"Retry-After": str(room_s)}
        return ProblemError(QUEUE_FULL, f"{reason}, or more. {QUEUE_FULL.fix}", headers=headers)
