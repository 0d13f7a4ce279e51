"""Whose end somebody wants to hear of: jobs with a webhook, in Redis, each with the time at which it is due.

The gateway adds a job when it accepts it, due in a while; whoever ends the job makes it due at once. A gateway's courier takes what is
due for the length of a lease, and then strikes it off or puts it back. What a courier that died had taken is due again when its lease
has lapsed, and no two couriers have the same job at once. What is known of a job's deliveries lies in RQ's hash of the job, and so lives
and dies with it.
"""

import time
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.client import Pipeline
from rq.job import Job
from rq.utils import as_text

WAITING_KEY = "enlarger:webhooks"
"""Sorted set: job id, and when it is due, in seconds since the epoch."""
TAKEN_KEY = "enlarger:webhooks:taken"
"""Sorted set: job id, and when the lease of the courier that has it lapses, in seconds since the epoch."""

LOOK_AGAIN_S = 60.0
"""How often a courier looks whether a job has ended that nobody said has: whoever ended it may have died before saying so."""

_ATTEMPTS = "enlarger_webhook_attempts"
_BODY = "enlarger_webhook_body"

# By Redis' own clock: two gateways' may differ.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[1])) do
    redis.call('ZREM', KEYS[2], id)
    redis.call('ZADD', KEYS[1], now, id)
end
local until_s, taken = string.format('%.6f', now + ARGV[2]), {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])) do
    redis.call('ZREM', KEYS[1], id)
    redis.call('ZADD', KEYS[2], until_s, id)
    local attempts = redis.call('HGET', ARGV[3] .. id, ARGV[4])
    table.insert(taken, {id, until_s, attempts or '0', redis.call('HGET', ARGV[3] .. id, ARGV[5]) or ''})
end
return taken
"""

# Only if it is still the same courier's. A job whose record is gone is not put back: it would never leave.
_LET_GO = """
if tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or -1) ~= tonumber(ARGV[2]) then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
if ARGV[3] == '' or redis.call('EXISTS', KEYS[3]) == 0 then return 1 end
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1] + time[2] / 1000000 + ARGV[3], ARGV[1])
if ARGV[7] ~= '' then redis.call('HSET', KEYS[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]) end
return 1
"""


def expect(redis: "Redis | Pipeline", job_id: str) -> None:
    """Note that somebody wants to hear of the job's end."""
    redis.zadd(WAITING_KEY, {job_id: time.time() + LOOK_AGAIN_S})


def nudge(redis: "Redis | Pipeline", job_id: str) -> None:
    """The job has ended: whoever wants to hear of it shall do so now. Nothing happens where nobody does."""
    redis.zadd(WAITING_KEY, {job_id: time.time()}, xx=True)


def forget(redis: "Redis | Pipeline", job_id: str) -> None:
    """Nobody shall hear of the job any more."""
    redis.zrem(WAITING_KEY, job_id)


@dataclass(frozen=True)
class Taken:
    """A job that a courier has for the length of its lease."""

    job_id: str
    """The job."""
    until_s: str
    """When the lease lapses, by Redis' clock in seconds since the epoch, as it was written: it shows whose it is."""
    attempts: int
    """Deliveries that failed before."""
    body: str
    """What those said, and every other one has to say; empty before the first failure."""


class DueWebhooks:
    """The couriers' view of it. Every method may raise RedisError."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def take(self, limit: int, lease_s: float) -> list[Taken]:
        """At most so many of the jobs that are due, those that are due longest first."""
        answer: Any = self._redis.eval(
            _TAKE, 2, WAITING_KEY, TAKEN_KEY, limit, lease_s, Job.key_for(""), _ATTEMPTS, _BODY
        )
        return [
            Taken(as_text(job_id), as_text(until_s), int(attempts), as_text(body))
            for job_id, until_s, attempts, body in answer
        ]

    def strike_off(self, taken: Taken) -> bool:
        """Done with it. False if the lease has lapsed, and it is somebody else's by now."""
        return self._let_go(taken, "", 0, "")

    def put_back(self, taken: Taken, delay_s: float) -> bool:
        """Nothing was tried: it is due again in so many seconds. False as above."""
        return self._let_go(taken, f"{delay_s:.6f}", 0, "")

    def put_back_failed(self, taken: Taken, delay_s: float, body: str) -> bool:
        """A delivery of `body` failed: the next is due in so many seconds. False as above."""
        return self._let_go(taken, f"{delay_s:.6f}", taken.attempts + 1, body)

    def nudge(self, job_id: str) -> None:
        """See :func:`nudge`."""
        nudge(self._redis, job_id)

    def _let_go(self, taken: Taken, delay_s: str, attempts: int, body: str) -> bool:
        keys = (WAITING_KEY, TAKEN_KEY, Job.key_for(taken.job_id))
        fields = (_ATTEMPTS, attempts, _BODY, body)
        return bool(self._redis.eval(_LET_GO, 3, *keys, taken.job_id, taken.until_s, delay_s, *fields))
