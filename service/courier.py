"""Delivers webhooks: a task beside the gateway's requests. Several gateways on one Redis share the work.

A job is delivered at least once: a courier that dies between a receiver's answer and noting it leads to a second delivery with the
same `webhook-id`, by which receivers know it again.
"""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import TypeVar

import anyio
import httpx
from anyio import to_thread
from redis.exceptions import RedisError

from service.outbound import AddressRefusedError, public_client
from service.webhooks import Webhooks, body_of
from worker.contract.jobs import JobRecord
from worker.contract.logs import job_in_log
from worker.contract.queue import JobQueue, QueueUnavailableError
from worker.contract.webhooks import LOOK_AGAIN_S, Taken

T = TypeVar("T")

logger = logging.getLogger(__name__)

RETRY_AFTER_S = (5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
"""From one attempt to the next: the specification's schedule. It also ends with the job's record."""
JITTER = 0.1
"""Up to this share of the wait is added to it, so that what failed together does not come again together."""
MAX_RETRY_AFTER_S = 3600.0
"""What a receiver may ask for at most with `Retry-After`."""

POLL_S = 0.25
"""How often it looks for what is due."""
REDIS_PAUSE_S = 2.0
"""How long it waits where Redis does not answer."""
STOP_S = 2.0
"""How long deliveries under way get at the end; those that do not make it are another courier's after the lease."""
DRAIN_BYTES = 4096
DRAIN_S = 1.0
"""How much of an answer is read, and for how long, so that a short one is not cut off. Nobody looks at it."""


class Outcome(StrEnum):
    """How an attempt ended."""

    DELIVERED = "delivered"
    """The receiver answered with 2xx."""
    RETRY = "retry"
    """It did not, and will be asked again."""
    GONE = "gone"
    """It answered with 410: it wants to hear no more."""
    GIVEN_UP = "given_up"
    """The last attempt failed."""


@dataclass(frozen=True)
class Pace:
    """How fast a courier goes."""

    at_once: int = 64
    """Deliveries at once."""
    at_once_each: int = 8
    """Deliveries at once to one host: a slow one does not hold up the others."""
    timeout_s: float = 20.0
    """For a whole delivery. The specification recommends 15 to 30."""
    lease_s: float = 60.0
    """After which another courier takes what this one had: longer than any delivery."""
    retry_after_s: tuple[float, ...] = RETRY_AFTER_S
    """From one attempt to the next; after the last, the job is given up."""


PACE = Pace()


class FailedError(Exception):
    """The receiver did not take it."""

    def __init__(self, why: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class GoneError(FailedError):
    """The receiver wants to hear no more."""


class Courier:
    """Takes what is due and delivers it, as long as :meth:`running` lasts."""

    def __init__(
        self,
        queue: JobQueue,
        webhooks: Webhooks,
        count: Callable[[Outcome], None] = lambda outcome: None,
        pace: Pace = PACE,
    ) -> None:
        """`count` is told of each attempt."""
        self._queue = queue
        self._webhooks = webhooks
        self._count = count
        self._pace = pace
        self._deliveries: set[asyncio.Task[None]] = set()
        self._hosts: Counter[str] = Counter()
        # Threads of its own: requests must not wait for it, nor it for them.
        self._threads = anyio.CapacityLimiter(4)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Within it, webhooks are delivered."""
        async with public_client(self._webhooks.allowed, timeout_s=self._pace.timeout_s) as client:
            loop = asyncio.create_task(self._run(client), name="courier")
            try:
                yield
            finally:
                loop.cancel()
                await asyncio.wait([loop])
                if self._deliveries:
                    await asyncio.wait(self._deliveries, timeout=STOP_S)
                for delivery in self._deliveries:
                    delivery.cancel()
                if self._deliveries:
                    await asyncio.wait(self._deliveries)

    async def _run(self, client: httpx.AsyncClient) -> None:
        while True:
            try:
                await self._take(client)
                await asyncio.sleep(POLL_S)
            except (RedisError, QueueUnavailableError) as error:
                logger.warning("no webhooks are delivered: Redis does not answer (%s)", error)
                await asyncio.sleep(REDIS_PAUSE_S)
            except Exception:
                logger.exception("unexpected error; going on")
                await asyncio.sleep(REDIS_PAUSE_S)

    async def _take(self, client: httpx.AsyncClient) -> None:
        """Begin with everything that is due, as far as there is room."""
        while room := self._pace.at_once - len(self._deliveries):
            due = await self._ask(lambda: self._queue.webhooks.take(room, self._pace.lease_s))
            for taken in due:
                delivery = asyncio.create_task(self._handle(client, taken), name=f"webhook {taken.job_id}")
                self._deliveries.add(delivery)
                delivery.add_done_callback(self._deliveries.discard)
            if len(due) < room:
                return

    async def _handle(self, client: httpx.AsyncClient, taken: Taken) -> None:
        with job_in_log(taken.job_id):
            try:
                await self._look(client, taken)
            except (RedisError, QueueUnavailableError) as error:
                logger.warning("its webhook has to wait: Redis does not answer (%s)", error)
            except Exception:
                logger.exception("unexpected error; its webhook is tried again when the lease has lapsed")

    async def _look(self, client: httpx.AsyncClient, taken: Taken) -> None:
        """Deliver it if the job has ended."""
        due = self._queue.webhooks
        record = await self._find(taken)
        url = record.job.webhook_url if record else None
        if record is None or url is None:
            await self._ask(lambda: due.strike_off(taken))  # deleted, or its time is over
        elif record.ended_at is None:
            await self._ask(lambda: due.put_back(taken, LOOK_AGAIN_S))
            # It may have ended while it was in nobody's reach, and nobody will say so again.
            record = await self._find(taken)
            if record is not None and record.ended_at is not None:
                await self._ask(lambda: due.nudge(taken.job_id))
        else:
            await self._deliver(client, taken, record, url)

    async def _deliver(self, client: httpx.AsyncClient, taken: Taken, record: JobRecord, url: str) -> None:
        due, host = self._queue.webhooks, httpx.URL(url).raw_host.decode("ascii")
        if self._hosts[host] >= self._pace.at_once_each:
            await self._ask(lambda: due.put_back(taken, random.uniform(1.0, 2.0)))
            return
        body = taken.body or body_of(record)
        self._hosts[host] += 1
        try:
            await self._send(client, url, self._webhooks.headers(record, body), body)
        except FailedError as error:
            failure = error
        else:
            await self._ask(lambda: due.strike_off(taken))
            self._end(Outcome.DELIVERED, taken, host)
            return
        finally:
            self._hosts[host] -= 1
            if not self._hosts[host]:
                del self._hosts[host]
        waits_s = self._pace.retry_after_s
        if isinstance(failure, GoneError) or taken.attempts >= len(waits_s):
            await self._ask(lambda: due.strike_off(taken))
            outcome = Outcome.GONE if isinstance(failure, GoneError) else Outcome.GIVEN_UP
            self._end(outcome, taken, host, str(failure))
            return
        wait_s = max(waits_s[taken.attempts], failure.retry_after_s) * random.uniform(1.0, 1.0 + JITTER)
        await self._ask(lambda: due.put_back_failed(taken, wait_s, body))
        self._end(Outcome.RETRY, taken, host, f"{failure}; the next attempt is in {wait_s:.0f} s")

    async def _send(self, client: httpx.AsyncClient, url: str, headers: dict[str, str], body: str) -> None:
        """Raises FailedError unless the receiver took it."""
        try:
            async with (
                asyncio.timeout(self._pace.timeout_s),
                client.stream("POST", url, headers=headers, content=body.encode()) as response,
            ):
                await _drain(response)
        except AddressRefusedError as error:
            raise FailedError(str(error)) from error
        except TimeoutError as error:
            raise FailedError(f"no answer within {self._pace.timeout_s:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise FailedError(f"{type(error).__name__}: {error!s:.200}") from error
        if response.status_code == httpx.codes.GONE:
            raise GoneError("it answered 410 Gone")
        if not response.is_success:
            raise FailedError(f"it answered {response.status_code}", retry_after_s=_asked_wait_s(response))

    def _end(self, outcome: Outcome, taken: Taken, host: str, why: str = "") -> None:
        """`host` and nothing else of the URL: its path and its query may be what keeps it secret."""
        self._count(outcome)
        level = logging.INFO if outcome is Outcome.DELIVERED else logging.WARNING
        attempt = taken.attempts + 1
        logger.log(level, "webhook to %s, attempt %d: %s%s", host, attempt, outcome, why and f" ({why})")

    async def _find(self, taken: Taken) -> JobRecord | None:
        return await self._ask(lambda: self._queue.find(taken.job_id))

    async def _ask(self, question: Callable[[], T]) -> T:
        """What Redis says, which blocks."""
        return await to_thread.run_sync(question, limiter=self._threads)


async def _drain(response: httpx.Response) -> None:
    """Its status is known: whatever its body does changes nothing."""
    with suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(DRAIN_S):
            length_bytes = 0
            async for chunk in response.aiter_raw():
                length_bytes += len(chunk)
                if length_bytes >= DRAIN_BYTES:
                    return


def _asked_wait_s(response: httpx.Response) -> float:
    """By `Retry-After` of a 429 or 503, as far as it is sensible."""
    asked = response.headers.get("Retry-After", "").strip()
    if response.status_code not in (429, 503) or not asked:
        return 0.0
    try:
        wait_s = float(asked) if asked.isdecimal() else parsedate_to_datetime(asked).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(0.0, wait_s), MAX_RETRY_AFTER_S)
