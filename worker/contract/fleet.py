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


class Fleet(Protocol):
    """The workers that take jobs from our queue."""

    def live_workers(self) -> list[LiveWorker]:
        """Every worker that beat within its lease. Raises QueueUnavailableError."""


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
                pipeline.hmget(key, "hostname", "state", "death", FAULTS_FIELD)
            answers = pipeline.execute()
        return [
            LiveWorker(
                key.rpartition(":")[2],
                as_text(hostname or b""),
                as_text(state),
                tuple(json.loads(faults or b"[]")),
            )
            for key, (hostname, state, death, faults) in zip(keys, answers, strict=True)
            if state and not death
        ]
