"""`Prefer: wait=N` (RFC 7240, 4.3): a request that waits for its job's end, as long as it likes and we allow."""

import asyncio
import re
import time
from collections.abc import Iterable

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from worker.contract.jobs import JobRecord
from worker.contract.queue import JobQueue, QueueUnavailableError

MAX_WAIT_S = 60
"""Proxies give up on a silent answer after about as long."""
MOST_WAITING = 200
"""Who comes beyond them is answered at once: each asks Redis a few times a second."""
FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.25

WAIT = re.compile(r'\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:;.*)?', re.IGNORECASE)


def wait_s(prefer: Iterable[str]) -> int | None:
    """How long the headers ask to wait, in whole seconds; the first `wait` counts, and what is no preference of ours does not.

    >>> wait_s(["respond-async, wait=10", "wait=3"]), wait_s(["wait=soon"]), wait_s(["Wait=100"])
    (10, None, 60)
    """
    for preference in ",".join(prefer).split(","):
        if found := WAIT.fullmatch(preference):
            return min(MAX_WAIT_S, int(found[1]))
    return None


class WaitingRoom:
    """Where requests wait for the end of their jobs."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._waiting = 0

    async def until_ended(self, request: Request, job_id: str, seconds: float) -> JobRecord | None:
        """The job when it has ended, when the time is over, or when nobody listens any more.

        None where it cannot be waited for: too many do, or Redis does not answer. The job is accepted all the same.
        """
        if self._waiting >= MOST_WAITING:
            return None
        self._waiting += 1
        try:
            return await self._watch(request, job_id, time.monotonic() + seconds)
        except QueueUnavailableError:
            return None
        finally:
            self._waiting -= 1

    async def _watch(self, request: Request, job_id: str, ends_s: float) -> JobRecord | None:
        pause_s = FIRST_PAUSE_S
        while True:
            record = await run_in_threadpool(self._queue.find, job_id)
            left_s = ends_s - time.monotonic()
            if record is None or record.status.final or left_s <= 0 or await request.is_disconnected():
                return record
            await asyncio.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)
