"""Which workers live, as RQ's registry tells it.

A worker's key expires with its heartbeat, so a key that is there is a worker that
beat within its lease; a name in the registry without a key is a worker that died.
"""

import json
from dataclasses import dataclass
from typing import Protocol

from redis import Redis
from rq.utils import as_text
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from worker.contract.queue import QUEUE_NAME, redis_errors_translated

FAULTS_FIELD = "enlarger_faults"
"""Our field in the hash of RQ's worker: a list of strings as JSON."""
SPEED_FIELD = "enlarger_mmac_per_s"
"""Our field there for its speed; 0 until it has done something."""


@dataclass(frozen=True)
class LiveWorker:
    """A worker that beats."""

    name: str
    """Unique among workers."""
    hostname: str
    """The machine or container it runs on."""
    state: str
    """RQ's word: idle, busy, started."""
    faults: tuple[str, ...] = ()
    """What is wrong though it goes on working, in words for whoever runs the service."""
    mmac_per_s: float | None = None
    """Millions of multiply-adds that it does a second while it has work; None until it has done something."""


class Fleet(Protocol):
    """The workers that take jobs from our queue."""

    def live_workers(self) -> list[LiveWorker]:
        """Every worker that beat within its lease. Raises QueueUnavailableError."""


def tell(redis: Redis, worker_key: str, faults: list[str], mmac_per_s: float) -> None:
    """Note in a worker's hash what it says of itself with each heartbeat."""
    redis.hset(worker_key, mapping={FAULTS_FIELD: json.dumps(faults), SPEED_FIELD: f"{mmac_per_s:.6g}"})


class RqFleet:
    """The fleet as RQ's worker registry has it."""

    def __init__(self, redis: Redis, queue_name: str = QUEUE_NAME) -> None:
        self._redis = redis
        self._registry_key = WORKERS_BY_QUEUE_KEY % queue_name

    def live_workers(self) -> list[LiveWorker]:
        """See :class:`Fleet`."""
        with redis_errors_translated(), self._redis.pipeline(transaction=False) as pipeline:
            keys = sorted(as_text(key) for key in self._redis.smembers(self._registry_key))
            for key in keys:
                pipeline.hmget(key, "hostname", "state", "death", FAULTS_FIELD, SPEED_FIELD)
            answers = pipeline.execute()
        return [
            LiveWorker(
                key.rpartition(":")[2],
                as_text(hostname or b""),
                as_text(state),
                tuple(json.loads(faults or b"[]")),
                float(speed or 0.0) or None,
            )
            for key, (hostname, state, death, faults, speed) in zip(keys, answers, strict=True)
            if state and not death
        ]
