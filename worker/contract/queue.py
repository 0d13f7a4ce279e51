"""The queue of jobs: RQ on Redis or Valkey.

RQ's own records stay true, so that `rq info`, the exporters and its registries tell the truth.
What RQ has no field for lies in the same Redis hash as the RQ job, under names of ours, and
so lives and dies with it.
"""

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, Retry
from rq.command import send_stop_job_command
from rq.exceptions import DeserializationError, InvalidJobOperation, NoSuchJobError
from rq.executions import ExecutionRegistry
from rq.job import Job
from rq.job import JobStatus as RqStatus
from rq.registry import CanceledJobRegistry, FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry
from rq.results import Result
from rq.serializers import JSONSerializer
from rq.utils import as_text, now, utcformat

from worker.contract.backlog import Backlog, backlog_until, whole_backlog
from worker.contract.fields import Field
from worker.contract.jobs import (
    JobFailure,
    JobRecord,
    JobResult,
    JobSchemaError,
    JobState,
    JobStatus,
    Priority,
    UpscaleJob,
)
from worker.contract.webhooks import TAKEN_KEY, WAITING_KEY, DueWebhooks, expect, forget, nudge

logger = logging.getLogger(__name__)

QUEUE_NAME = "upscale"
"""RQ's queue of interactive jobs. A job of another priority waits in a queue whose name ends with that."""
FUNCTION_NAME = "worker.upscale"
"""The only function name that a worker accepts. It names no importable object: nothing is imported for a job."""

MAX_ATTEMPTS = 3
"""How often a job may be started before it fails: a worker that dies takes an attempt with it."""

WORKER_LOST = JobFailure(
    code="worker_lost",
    message="The worker died each time while it had this job; the picture may be what kills it.",
    retryable=True,
)


Cursor = tuple[float, str]
"""A place in an owner's list of jobs: when the job was created, in seconds since the epoch, and its id."""

RECORD_LIVES = 2
"""A job's record is kept this many times as long as its pictures, so that whoever comes late hears that they have expired."""

PAGE_JOBS = 100
"""How many ids of a list are asked for at once."""


class QueueUnavailableError(Exception):
    """Redis does not answer: check that it runs and that ENLARGER_REDIS_URL is right."""


@dataclass(frozen=True)
class QueueStatistics:
    """How the queue stands, for whoever watches it."""

    waiting: Mapping[Priority, int]
    """Jobs that no worker has taken."""
    oldest_waiting_s: Mapping[Priority, float]
    """How long the first in line has waited, in seconds; absent where none waits."""
    processing: int
    """Jobs that workers have."""
    backlog: Backlog
    """What all of them ask of a device."""
    webhooks: int = 0
    """Jobs, ended or not, whose end somebody has yet to hear of."""


# Only a job that has not ended can be canceled: this and the end of a job, each atomic, come one after the other.
_MARK_CANCELED = """
local status = redis.call('HGET', KEYS[1], 'status')
if not status or status == 'finished' or status == 'failed' or status == 'canceled' or status == 'stopped' then
    return 0
end
redis.call('HSET', KEYS[1], ARGV[1], '1')
return 1
"""

# A write to a job that was deleted meanwhile would leave a hash that never expires.
_SET_IF_EXISTS = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""

# A worker that was silent for too long goes on for a moment with a job that another one has by now.
_SET_IF_HELD = """
if redis.call('HGET', KEYS[1], 'worker_name') ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""

# A job that an older gateway queued has no owner in its hash.
_COUNT_OWN = """
local count = 0
for _, line in ipairs(KEYS) do
    for _, id in ipairs(redis.call('LRANGE', line, 0, -1)) do
        if (redis.call('HGET', ARGV[2] .. id, ARGV[3]) or '') == ARGV[1] then count = count + 1 end
    end
end
return count
"""

_STATUS_OF_RQ = {
    RqStatus.CREATED: JobStatus.QUEUED,
    RqStatus.QUEUED: JobStatus.QUEUED,
    RqStatus.DEFERRED: JobStatus.QUEUED,
    RqStatus.SCHEDULED: JobStatus.QUEUED,
    RqStatus.STARTED: JobStatus.PROCESSING,
    RqStatus.FINISHED: JobStatus.SUCCEEDED,
    RqStatus.FAILED: JobStatus.FAILED,
    RqStatus.STOPPED: JobStatus.CANCELED,
    RqStatus.CANCELED: JobStatus.CANCELED,
}


def queue_name_of(priority: Priority, queue_name: str = QUEUE_NAME) -> str:
    """RQ's queue for jobs of that priority.

    >>> queue_name_of(Priority.INTERACTIVE), queue_name_of(Priority.BULK)
    ('upscale', 'upscale-bulk')
    """
    return queue_name if priority is Priority.INTERACTIVE else f"{queue_name}-{priority}"


def set_field(redis: Redis, job_id: str, field: Field, value: str) -> bool:
    """Set one of our fields on a job; False if the job no longer exists."""
    return bool(redis.eval(_SET_IF_EXISTS, 1, Job.key_for(job_id), field, value))


def set_progress(redis: Redis, job_id: str, worker_name: str, share: float) -> None:
    """Note how far a job is, if it is still that worker's."""
    redis.eval(_SET_IF_HELD, 1, Job.key_for(job_id), Field.PROGRESS, f"{share:.4f}", worker_name)


def prune_lists(redis: Redis, before_s: float) -> None:
    """Strike from the lists of jobs what was created before that moment and is forgotten."""
    for key in redis.scan_iter(match=_jobs_key("*")):
        members: list[Any] = redis.zrangebyscore(key, "-inf", before_s)
        for job_id in map(as_text, members):
            if not Job.exists(job_id, connection=redis):
                redis.zrem(key, job_id)


def end_canceled(job: Job, record_s: int) -> None:
    """End a job that no worker has as canceled, to be forgotten `record_s` from now."""
    with job.connection.pipeline() as pipeline:
        with suppress(InvalidJobOperation):  # canceled before, and perhaps without an end to its time
            job.cancel(pipeline=pipeline)
            pipeline.hset(job.key, "ended_at", utcformat(now()))  # RQ leaves it out
        pipeline.expire(job.key, record_s)
        nudge(pipeline, job.id)
        # RQ never trims this registry.
        pipeline.zrem(CanceledJobRegistry(job.origin, connection=job.connection).key, job.id)
        pipeline.execute()


def _jobs_key(owner: str) -> str:
    return f"enlarger:jobs:{owner}"


def _description(job: UpscaleJob) -> str:
    return f"{job.model} x{job.scale} {job.input.width_px}x{job.input.height_px}"


def encode_failure(failure: JobFailure) -> str:
    """A failure as it lies in :attr:`Field.FAILURE`."""
    return json.dumps(asdict(failure))


class JobQueue:
    """Jobs in RQ's queues. Thread-safe. Every method may raise QueueUnavailableError."""

    def __init__(
        self, redis: Redis, *, job_timeout_s: int, retention_s: int, queue_name: str = QUEUE_NAME
    ) -> None:
        """`retention_s`: how long a job's pictures are kept after its end."""
        self._redis = redis
        self._job_timeout_s = job_timeout_s
        self._retention_s = retention_s
        self._record_s = RECORD_LIVES * retention_s
        self.webhooks = DueWebhooks(redis)
        """Whose end somebody wants to hear of."""
        self._queues = {
            priority: Queue(queue_name_of(priority, queue_name), connection=redis, serializer=JSONSerializer)
            for priority in Priority
        }

    def submit(self, job: UpscaleJob, name: str | None = None) -> None:
        """Accept the job, whose id is new; once this returns the job is not lost.

        Under `name`, a key of the caller's, Redis keeps the job's id as long as its record, in the same round trip.
        """
        with redis_errors_translated(), self._redis.pipeline() as pipeline:
            self._queues[job.priority].enqueue_call(
                FUNCTION_NAME,
                kwargs={"job": job.to_json()},
                job_id=job.id,
                timeout=self._job_timeout_s,
                result_ttl=self._record_s,
                failure_ttl=self._record_s,
                # Without a retry, RQ would fail the jobs of a worker that died.
                retry=Retry(max=MAX_ATTEMPTS - 1),
                description=_description(job),
                pipeline=pipeline,
            )
            pipeline.hset(
                Job.key_for(job.id),
                mapping={
                    Field.WORK: job.work_px,
                    Field.WORK_MMAC: f"{job.work_mmac:.3f}",
                    Field.OWNER: job.owner,
                },
            )
            pipeline.zadd(_jobs_key(job.owner), {job.id: job.created_at})
            if job.webhook_url:
                expect(pipeline, job.id)
            if name is not None:
                pipeline.set(name, job.id, ex=self._record_s)
            pipeline.execute()

    def submit_done(self, job: UpscaleJob, result: JobResult) -> None:
        """Record a job whose result is there already, as if a worker had just made it."""
        with redis_errors_translated(), self._redis.pipeline() as pipeline:
            rq_job = Job.create(
                FUNCTION_NAME,
                kwargs={"job": job.to_json()},
                id=job.id,
                connection=self._redis,
                result_ttl=self._record_s,
                status=RqStatus.FINISHED,
                description=_description(job),
                origin=self._queues[job.priority].name,
                serializer=JSONSerializer,
            )
            rq_job.enqueued_at = rq_job.started_at = rq_job.ended_at = now()
            rq_job.save(pipeline=pipeline)
            Result.create(rq_job, Result.Type.SUCCESSFUL, self._record_s, asdict(result), pipeline=pipeline)
            rq_job.cleanup(self._record_s, pipeline=pipeline, remove_from_queue=False)
            registry = FinishedJobRegistry(rq_job.origin, connection=self._redis, serializer=JSONSerializer)
            registry.add(rq_job, self._record_s, pipeline)
            pipeline.zadd(_jobs_key(job.owner), {job.id: job.created_at})
            if job.webhook_url:
                expect(pipeline, job.id)
                nudge(pipeline, job.id)
            pipeline.execute()

    def find(self, job_id: str) -> JobRecord | None:
        """The job as it stands, or None if it is unknown or its time is over."""
        with redis_errors_translated():
            job = self._fetch(job_id)
            if job is None:
                return None
            progress, failure, cancel = self._redis.hmget(
                job.key, [Field.PROGRESS, Field.FAILURE, Field.CANCEL]
            )
            status = _STATUS_OF_RQ[job.get_status(refresh=False)]
            value = job.return_value() if status is JobStatus.SUCCEEDED else None
            # A worker may have a canceled job still, and a job that is tried again has the end of its last attempt.
            ended_at = _epoch_s(job.ended_at) if status.final else None
        try:
            asked = UpscaleJob.from_json(job.kwargs["job"])
            result = JobResult.from_json(value) if value else None
        except (JobSchemaError, DeserializationError, KeyError, TypeError, AttributeError) as error:
            logger.warning("RQ job %s is not one of ours: %s", job_id, error)
            return None
        if cancel:
            # Whatever a worker makes of it from now on: what was canceled stays so.
            status, result = JobStatus.CANCELED, None
        if status is JobStatus.SUCCEEDED and result is None:
            return None
        return JobRecord(
            job=asked,
            status=status,
            progress=1.0 if status is JobStatus.SUCCEEDED else float(progress or 0.0),
            started_at=None if status is JobStatus.QUEUED else _epoch_s(job.started_at),
            ended_at=ended_at,
            expires_at=None if ended_at is None else ended_at + self._retention_s,
            result=result,
            failure=_failure(failure) if status is JobStatus.FAILED else None,
        )

    def states(self, job_ids: Sequence[str]) -> list[JobState | None]:
        """How many jobs stand, in one question; None for each that is unknown or whose time is over."""
        fields = ["status", Field.PROGRESS, Field.FAILURE, Field.CANCEL]
        with redis_errors_translated(), self._redis.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                pipeline.hmget(Job.key_for(job_id), fields)
            answers = pipeline.execute()
        return [_state(*answer) for answer in answers]

    def cancel(self, job_id: str) -> None:
        """Make a job that has not ended end as canceled; nothing happens to one that has."""
        with redis_errors_translated():
            # The mark comes first: a worker that takes the job from now on sees it and drops the
            # job, and one that took it before has made it `started`, which the fetch then shows.
            if not self._redis.eval(_MARK_CANCELED, 1, Job.key_for(job_id), Field.CANCEL):
                return
            job = self._fetch(job_id)
            if job is None:
                return
            if job.get_status(refresh=False) is RqStatus.STARTED:
                with suppress(InvalidJobOperation, NoSuchJobError):  # it has just ended
                    send_stop_job_command(self._redis, job_id, serializer=JSONSerializer)
            else:
                end_canceled(job, self._record_s)

    def forget(self, job_id: str) -> None:
        """Delete the record of a job that has ended; one that a worker has not let go of yet is kept."""
        with redis_errors_translated():
            job = self._fetch(job_id)
            # A worker that still has a canceled job would write it back without an expiry.
            if job is None or job.get_status(refresh=False) is RqStatus.STARTED:
                return
            # Not RQ's `Job.delete`: it loads the records of every attempt, and fails where a worker died in one.
            registries = (FinishedJobRegistry, FailedJobRegistry, CanceledJobRegistry, StartedJobRegistry)
            with self._redis.pipeline() as pipeline:
                for registry in registries:
                    pipeline.zrem(registry(job.origin, connection=self._redis).key, job_id)
                for queue in self._queues.values():
                    pipeline.lrem(queue.key, 0, job_id)
                forget(pipeline, job_id)
                pipeline.delete(
                    job.key, Result.get_key(job_id), ExecutionRegistry(job_id, connection=self._redis).key
                )
                pipeline.execute()

    def place(self, job_id: str) -> Backlog | None:
        """A job that waits and what stands before it; None for any other."""
        with redis_errors_translated():
            return backlog_until(job_id, self._redis, self._queues.values())

    def jobs_of(self, owner: str, *, before: Cursor | None = None) -> Iterator[tuple[Cursor, JobRecord]]:
        """The owner's jobs, the newest first, each with the cursor that goes on behind it."""
        highest = f"{before[0]!r}" if before else "+inf"
        key, offset = _jobs_key(owner), 0
        while True:
            with redis_errors_translated():
                page: list[Any] = self._redis.zrevrangebyscore(
                    key, highest, "-inf", offset, PAGE_JOBS, withscores=True
                )
            for member, created_at in page:
                cursor = (float(created_at), as_text(member))
                # Jobs of one moment are in descending order of their ids.
                if before and cursor >= before:
                    continue
                record = self.find(cursor[1])
                if record is not None:  # otherwise its time is over
                    yield cursor, record
            if len(page) < PAGE_JOBS:
                return
            offset += PAGE_JOBS

    def waiting(self) -> int:
        """How many jobs wait for a worker."""
        with redis_errors_translated(), self._redis.pipeline(transaction=False) as pipeline:
            for queue in self._queues.values():
                pipeline.llen(queue.key)
            return sum(pipeline.execute())

    def waiting_of(self, owner: str) -> int:
        """How many of the owner's jobs wait for a worker."""
        lines = [queue.key for queue in self._queues.values()]
        with redis_errors_translated():
            answer: Any = self._redis.eval(
                _COUNT_OWN, len(lines), *lines, owner, Job.key_for(""), Field.OWNER
            )
        return int(answer)

    def statistics(self) -> QueueStatistics:
        """How the queue stands."""
        with redis_errors_translated():
            with self._redis.pipeline(transaction=False) as pipeline:
                for queue in self._queues.values():
                    pipeline.llen(queue.key)
                    pipeline.lindex(queue.key, 0)
                    # Not the registry's own count: that cleans up, without a lock.
                    pipeline.zcard(StartedJobRegistry(queue.name, connection=self._redis).key)
                pipeline.zcard(WAITING_KEY)
                pipeline.zcard(TAKEN_KEY)
                *answers, expected, taken = pipeline.execute()
            backlog = whole_backlog(self._redis, self._queues.values())
            waiting = dict(zip(self._queues, answers[0::3], strict=True))
            first = {
                priority: self._fetch(as_text(job_id))
                for priority, job_id in zip(self._queues, answers[1::3], strict=True)
                if job_id
            }
        return QueueStatistics(
            waiting,
            {
                p: max(0.0, time.time() - (_epoch_s(j.enqueued_at) or time.time()))
                for p, j in first.items()
                if j
            },
            sum(answers[2::3]),
            backlog,
            expected + taken,
        )

    def ping(self) -> None:
        """Return if the queue answers."""
        with redis_errors_translated():
            self._redis.ping()

    def _fetch(self, job_id: str) -> Job | None:
        try:
            return Job.fetch(job_id, connection=self._redis, serializer=JSONSerializer)
        except (NoSuchJobError, ValueError):  # ValueError: not an id that RQ would ever give
            return None


@contextmanager
def redis_errors_translated() -> Iterator[None]:
    """Within it, what the Redis client raises is a QueueUnavailableError."""
    try:
        yield
    except RedisError as error:
        raise QueueUnavailableError(str(error)) from error


def _epoch_s(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None


def _state(
    status: bytes | None, progress: bytes | None, failure: bytes | None, cancel: bytes | None
) -> JobState | None:
    if status is None:
        return None
    state = JobStatus.CANCELED if cancel else _STATUS_OF_RQ[RqStatus(as_text(status))]
    share = 1.0 if state is JobStatus.SUCCEEDED else float(progress or 0.0)
    return JobState(state, share, _failure(failure) if state is JobStatus.FAILED else None)


def _failure(stored: bytes | str | None) -> JobFailure:
    return JobFailure(**json.loads(stored)) if stored else WORKER_LOST
