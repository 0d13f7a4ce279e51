"""The lines that jobs wait in, one RQ queue for each priority, and which job a worker takes next.

RQ pops from several queues without its intermediate queue: a worker that dies between pop and start would lose the job. Here every
job goes through the intermediate queue of its line. A worker that is busy looks at those at the head of each line before it takes
one: what has no room beside the jobs in flight does not hold up what has.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from functools import cached_property
from typing import Any

from redis import Redis
from redis.exceptions import RedisError, ResponseError
from rq import Queue
from rq.exceptions import DequeueTimeout, NoSuchJobError
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import as_text

from worker.contract.fields import Field
from worker.contract.jobs import Priority
from worker.contract.queue import queue_name_of

logger = logging.getLogger(__name__)

BULK_EVERY = 4
"""Every fourth job is taken from the bulk line first, so that it never starves."""

LOOK_AHEAD = 8
"""Jobs at the head of a line that are looked at."""

IDLE_WAIT_S = 0.5
"""How long an idle worker waits on the first line before it looks at the others: a bulk job may wait so much longer."""

LOCK_S = 60
"""How long a worker that dies while it looks for abandoned jobs keeps others from it. RQ's is 15 minutes."""

STUCK_S = 5.0
"""A job that was taken and has not been started for so long goes back to its line: its worker died. Starting takes milliseconds,
and is done once whatever entries there are."""

# A job that another worker took since it was looked at is not there any more.
_MOVE = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
redis.call('LPUSH', KEYS[2], ARGV[1])
return 1
"""


class Verdict(Enum):
    """What a busy worker says to a job that waits."""

    TAKE = "there is room for it"
    SKIP = "there is none, but perhaps for one behind it"
    STOP = "nothing else may be taken before it"


class Taken(IntermediateQueue):
    """The jobs between a line and their start.

    RQ's own takes a minute to notice that one is stuck, counts it as a failed attempt, and remembers for a day that it saw it there in
    passing.
    """

    def __init__(self, queue_key: str, connection: Redis) -> None:
        super().__init__(queue_key, connection)
        self._seen_s: dict[Any, float] = {}

    def cleanup(self, worker: object, queue: Queue) -> None:
        """Put what is stuck back at the head of its line. Called at every maintenance."""
        now_s = time.monotonic()
        # Not RQ's own list, which fails on an id that is not UTF-8.
        job_ids: list[Any] = self.connection.lrange(self.key, 0, -1)
        self._seen_s = {job_id: self._seen_s.get(job_id, now_s) for job_id in job_ids}
        for job_id, seen_s in self._seen_s.items():
            if now_s - seen_s > STUCK_S:
                self.connection.eval(_MOVE, 2, self.key, queue.key, job_id)


class Line(Queue):
    """RQ's queue, popped in a way that loses no job however many there are."""

    @cached_property
    def intermediate_queue(self) -> Taken:
        """Where jobs are between this line and their start."""
        return Taken(self.key, self.connection)

    def acquire_maintenance_lock(self) -> bool:
        """Whether this worker is the one to look for abandoned jobs now."""
        return bool(self.connection.set(self.registry_cleaning_key, 1, nx=True, ex=LOCK_S))

    @classmethod
    def dequeue_any(
        cls,
        queues: Iterable[Queue],
        timeout: int | None,
        connection: Redis,
        job_class: type[Job] | None = None,
        serializer: Any = None,
        death_penalty_class: Any = None,
    ) -> tuple[Job, Queue] | None:
        """For a worker without a job: the first of the first line that has one.

        None where all are empty; with a `timeout` in seconds it waits for one, and then raises DequeueTimeout.
        """
        lines = list(queues)
        ends_s = time.monotonic() + (timeout or 0)
        while True:
            for line in lines:
                job_id = connection.lmove(line.key, line.intermediate_queue_key)
                if job_id:
                    break
            else:
                line = lines[0]
                left_s = ends_s - time.monotonic()
                if timeout is None:
                    return None
                if left_s <= 0:
                    raise DequeueTimeout(timeout, [line.key for line in lines])
                wait_s = max(0.1, min(left_s, IDLE_WAIT_S))
                job_id = connection.blmove(line.key, line.intermediate_queue_key, wait_s)  # type: ignore[arg-type]
            if not job_id:
                continue
            try:
                return (job_class or Job).fetch(
                    as_text(job_id), connection=connection, serializer=serializer
                ), line
            except NoSuchJobError:
                connection.lrem(line.intermediate_queue_key, 1, job_id)  # type: ignore[arg-type]
            except Exception as error:
                if not is_nonsense(error):
                    raise
                _drop_nonsense(connection, line.intermediate_queue_key, job_id, error)


class WaitingLines:
    """A line for each priority."""

    def __init__(self, redis: Redis, queue_name: str, job_class: type[Job]) -> None:
        self._redis = redis
        self._job_class = job_class
        self._taken = 0
        self.queues = [
            Line(
                queue_name_of(priority, queue_name),
                connection=redis,
                serializer=JSONSerializer,
                job_class=job_class,
            )
            for priority in (Priority.INTERACTIVE, Priority.BULK)
        ]

    def take(self, judge: Callable[[Job, int], Verdict]) -> tuple[Job, Line] | None:
        """For a worker with jobs in flight: the first that `judge`, given a job and its attempts so far, says to take."""
        lines = list(self.queues)
        if self._taken % BULK_EVERY == BULK_EVERY - 1:
            lines.reverse()
        for line in lines:
            job_ids: list[Any] = self._redis.lrange(line.key, 0, LOOK_AHEAD - 1)
            for job_id, job, attempts in self._seen(line, job_ids):
                if job is None:
                    self._redis.lrem(line.key, 1, job_id)
                    continue
                verdict = judge(job, attempts)
                if verdict is Verdict.STOP:
                    return None
                if verdict is Verdict.TAKE and self._redis.eval(
                    _MOVE, 2, line.key, line.intermediate_queue_key, job_id
                ):
                    self._taken += 1
                    return job, line
        return None

    def _seen(self, line: Line, job_ids: list[Any]) -> Iterator[tuple[Any, Job | None, int]]:
        """Each job, fetched when it is its turn, or None where it is gone, and its attempts so far. What is no job is dropped."""
        for job_id in job_ids:
            try:
                job = self._job_class.fetch(
                    as_text(job_id), connection=self._redis, serializer=JSONSerializer
                )
                attempts = int(self._redis.hget(job.key, Field.ATTEMPTS) or 0)
            except NoSuchJobError:
                yield job_id, None, 0
            except Exception as error:
                if not is_nonsense(error):
                    raise
                _drop_nonsense(self._redis, line.key, job_id, error)
            else:
                yield job_id, job, attempts


def is_nonsense(error: Exception) -> bool:
    """Whether an error is one of what somebody wrote to Redis, and none of Redis's own, which passes."""
    return not isinstance(error, RedisError) or (
        isinstance(error, ResponseError) and str(error).startswith("WRONGTYPE")
    )


def _drop_nonsense(redis: Redis, key: str, job_id: Any, error: Exception) -> None:
    logger.error("%s holds something that is not a job, and is dropped: %.80r: %.200s", key, job_id, error)
    redis.lrem(key, 1, job_id)
