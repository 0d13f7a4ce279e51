"""How much one caller may ask, counted in Redis, so that several gateways count as one.

By windows that slide: what was asked in the window before counts for the share of it that the last minute, or day, still covers.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import floor

from fastapi.concurrency import run_in_threadpool
from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerMinute
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from redis import Redis
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.auth import Caller
from service.errors import PIXEL_QUOTA_USED_UP, TOO_MANY_OWN_JOBS, TOO_MANY_REQUESTS, ProblemError
from service.limits import NO_LIMITS, Allowance
from worker.contract.queue import JobQueue, QueueUnavailableError, redis_errors_translated

MEGAPIXEL = 1_000_000
PREFIX = "enlarger:quotas"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Standing:
    """How much of a window's limit is used."""

    previous: int
    """Taken in the window before."""
    previous_left_s: float
    """Until none of that counts."""
    current: int
    """Taken in this window."""
    current_left_s: float
    """Until this window is the one before."""

    def used(self, window_s: int) -> int:
        """What counts now."""
        return int(self.previous * self.previous_left_s / window_s) + self.current

    def wait_s(self, window_s: int, limit: int, cost: int) -> int:
        """Whole seconds until that much more can be taken, if nothing else is; the window's length for what never fits.

        >>> Standing(0, 0.0, 10, 20.0).wait_s(60, limit=10, cost=1)  # this window's end
        21
        >>> Standing(10, 60.0, 0, 60.0).wait_s(60, limit=10, cost=5)
        25
        >>> Standing(0, 0.0, 0, 0.0).wait_s(60, limit=10, cost=11)
        60
        """
        if cost > limit:
            return window_s
        if self.current + cost > limit:
            # It has to become the window before, and then to fall below that.
            falls_s = window_s - window_s * (limit - cost + 1) / self.current
            return floor(self.current_left_s + max(0.0, falls_s)) + 1
        if self.used(window_s) + cost <= limit:
            return 0
        return floor(self.previous_left_s - window_s * (limit - cost - self.current + 1) / self.previous) + 1


@dataclass(frozen=True)
class Window:
    """A limit on what a caller takes in a time."""

    name: str
    """In the headers."""
    item: RateLimitItem
    """For the library."""
    unit: int = 1
    """What the headers count in."""
    unit_name: str = ""
    """Where it is not requests, which is what is meant without a name."""

    @property
    def policy(self) -> str:
        """The limit as an item of the header RateLimit-Policy."""
        unit = f';qu="{self.unit_name}"' if self.unit_name else ""
        return f'"{self.name}";q={self.item.amount // self.unit};w={self.item.get_expiry()}{unit}'

    def available(self, standing: Standing) -> str:
        """What is left of it as an item of the header RateLimit: `r` now, and more after `t` seconds."""
        window_s = self.item.get_expiry()
        left = max(0, self.item.amount - standing.used(window_s)) // self.unit
        more_s = standing.wait_s(window_s, self.item.amount, (left + 1) * self.unit)
        return f'"{self.name}";r={left};t={more_s}'


class Quotas:
    """What each caller has taken. Blocks: call it in a thread. Every method may raise QueueUnavailableError."""

    def __init__(self, redis: Redis, queue: JobQueue, defaults: Allowance = NO_LIMITS) -> None:
        """`defaults` hold for every key without limits of its own, and for all callers without a key together."""
        # The scheme only says which client it is: the connections are those of the pool.
        self._storage = RedisStorage("redis://", connection_pool=redis.connection_pool, key_prefix=PREFIX)
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)
        self._queue = queue
        self._defaults = defaults

    def count_request(self, caller: Caller) -> None:
        """Note one more request. Raises ProblemError if that is one too many."""
        if (window := _requests(self._allowance(caller))) and not self._hit(window, caller, 1):
            limit = window.item.amount
            raise ProblemError(
                TOO_MANY_REQUESTS,
                f"{limit} requests a minute are allowed: the next one after the seconds in Retry-After.",
                # Here already, since only a caller that was let in is told by the middleware.
                headers={**self.headers(caller), **self._retry_after(window, caller, 1)},
            )

    def bounds_queue(self, caller: Caller) -> bool:
        """Whether only so many of the caller's jobs may wait."""
        return self._allowance(caller).queued_jobs is not None

    def check_room(self, caller: Caller) -> None:
        """Raises ProblemError if the caller has as many jobs waiting as it may."""
        limit = self._allowance(caller).queued_jobs
        if limit is not None and self._queue.waiting_of(caller.id) >= limit:
            raise ProblemError(
                TOO_MANY_OWN_JOBS,
                f"{limit} of your jobs may wait at once: send more when some have begun.",
            )

    def take(self, caller: Caller, work_px: int) -> None:
        """Take pixels from the caller's day. Raises ProblemError if not so many are left, and then takes none."""
        if (window := _pixels(self._allowance(caller))) and not self._hit(window, caller, work_px):
            limit = window.item.amount // MEGAPIXEL
            raise ProblemError(
                PIXEL_QUOTA_USED_UP,
                f"{limit} megapixels a day are allowed, and the picture's {work_px / MEGAPIXEL:.3g} are more than is left.",
                headers=self._retry_after(window, caller, work_px),
            )

    def give_back(self, caller: Caller, work_px: int) -> None:
        """Undo :meth:`take` for a job that could not be queued. Does not raise: the caller is told why it was not queued."""
        if window := _pixels(self._allowance(caller)):
            try:
                self._hit(window, caller, -work_px)
            except QueueUnavailableError as error:
                logger.warning(
                    "%d px of the key %r stay taken for a job that was refused: %s", work_px, caller.id, error
                )

    @contextmanager
    def taken(self, caller: Caller, work_px: int) -> Iterator[None]:
        """Take pixels, and give them back where what is done within fails."""
        self.take(caller, work_px)
        try:
            yield
        except BaseException:
            self.give_back(caller, work_px)
            raise

    def limited(self, caller: Caller) -> bool:
        """Whether the caller has any limit."""
        return self._allowance(caller) != NO_LIMITS

    def headers(self, caller: Caller) -> dict[str, str]:
        """The caller's limits and what is left of them, by draft-ietf-httpapi-ratelimit-headers (of version 10)."""
        allowance = self._allowance(caller)
        windows = [window for window in (_requests(allowance), _pixels(allowance)) if window]
        policies = [window.policy for window in windows]
        if allowance.queued_jobs is not None:
            # Only a policy: to count the jobs, Redis walks through the whole queue.
            policies.append(f'"queued-jobs";q={allowance.queued_jobs};qu="jobs"')
        available = [window.available(self._standing(window, caller)) for window in windows]
        headers = {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(available)}
        return {name: value for name, value in headers.items() if value}

    def _allowance(self, caller: Caller) -> Allowance:
        return caller.allowance.or_else(self._defaults)

    def _hit(self, window: Window, caller: Caller, cost: int) -> bool:
        with redis_errors_translated():
            return self._limiter.hit(window.item, caller.id, cost=cost)

    def _standing(self, window: Window, caller: Caller) -> Standing:
        window_s = window.item.get_expiry()
        with redis_errors_translated():
            previous, previous_left_s, current, lives_s = self._storage.get_sliding_window(
                window.item.key_for(caller.id), window_s
            )
        # The library keeps a count for two windows.
        return Standing(previous, previous_left_s, current, max(0.0, lives_s - window_s))

    def _retry_after(self, window: Window, caller: Caller, cost: int) -> dict[str, str]:
        wait_s = self._standing(window, caller).wait_s(window.item.get_expiry(), window.item.amount, cost)
        return {"Retry-After": str(max(1, wait_s))}


def _requests(allowance: Allowance) -> Window | None:
    limit = allowance.requests_per_minute
    if limit is None:
        return None
    return Window("requests", RateLimitItemPerMinute(limit, namespace="requests"))


def _pixels(allowance: Allowance) -> Window | None:
    limit = allowance.megapixels_per_day
    if limit is None:
        return None
    item = RateLimitItemPerDay(limit * MEGAPIXEL, namespace="pixels")
    return Window("megapixels", item, unit=MEGAPIXEL, unit_name="megapixels")


class RateLimitHeaders:
    """ASGI middleware that tells every caller with a limit, on every answer, what is left of it."""

    def __init__(self, app: ASGIApp, quotas: Quotas) -> None:
        self._app = app
        self._quotas = quotas

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on, with the headers where the request has a caller."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})  # the one that requests have, where the gate puts the caller

        async def send_with_headers(message: Message) -> None:
            caller = state.get("caller")
            if message["type"] == "http.response.start" and caller and self._quotas.limited(caller):
                try:
                    MutableHeaders(scope=message).update(
                        await run_in_threadpool(self._quotas.headers, caller)
                    )
                except QueueUnavailableError as error:
                    logger.warning("an answer goes without its RateLimit headers: %s", error)
            await send(message)

        await self._app(scope, receive, send_with_headers)
