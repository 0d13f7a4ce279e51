"""The queue of jobs: the port, and RQ on Redis or Valkey behind it.

RQ's own records stay true, so that `rq info`, the exporters and its registries tell the truth.
What RQ has no field for lies in the same Redis hash as the RQ job, under names of ours, and
so lives and dies with it.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from typing import Protocol

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

from worker.contract.jobs import JobFailure, JobRecord, JobResult, JobSchemaError, JobStatus, UpscaleJob

logger = logging.getLogger(__name__)

QUEUE_NAME = "upscale"
FUNCTION_NAME = "worker.upscale"
"""The only function name that a worker accepts. It names no importable object: nothing is imported for a job."""

MAX_ATTEMPTS = 3
"""How often a job may be started before it fails: a worker that dies takes an attempt with it."""

WORKER_LOST = JobFailure(
    code="worker_lost",
    message="The worker died each time while it had this job; the picture may be what kills it.",
    retryable=True,
)


class QueueUnavailableError(Exception):
    """Redis does not answer: check that it runs and that ENLARGER_REDIS_URL is right."""


class DuplicateJobError(Exception):
    """A job with that id was submitted before."""


class JobQueue(Protocol):
    """What the gateway needs of the queue. Every method may raise QueueUnavailableError."""

    def submit(self, job: UpscaleJob) -> None:
        """Accept the job; once this returns the job is not lost. Raises DuplicateJobError."""

    def find(self, job_id: str) -> JobRecord | None:
        """The job as it stands, or None if it is unknown or its time is over."""

    def cancel(self, job_id: str) -> None:
        """Make a job that has not ended end as canceled; nothing happens to one that has."""

    def forget(self, job_id: str) -> None:
        """Delete the record of a job that has ended; one that a worker has not let go of yet is kept."""

    def waiting(self) -> int:
        """How many jobs wait for a worker."""

    def ping(self) -> None:
        """Return if the queue answers."""


class Field(StrEnum):
    """Our fields in the RQ job's hash."""

    PROGRESS = "enlarger_progress"
    FAILURE = "enlarger_failure"
    CANCEL = "enlarger_cancel"
    ATTEMPTS = "enlarger_attempts"


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


def set_field(redis: Redis, job_id: str, field: Field, value: str) -> bool:
    """Set one of our fields on a job; False if the job no longer exists."""
    return bool(redis.eval(_SET_IF_EXISTS, 1, Job.key_for(job_id), field, value))


def end_canceled(job: Job, retention_s: int) -> None:
    """End a job that no worker has as canceled, to be forgotten `retention_s` from now."""
    with job.connection.pipeline() as pipeline:
        with suppress(InvalidJobOperation):  # canceled before, and perhaps without an end to its time
            job.cancel(pipeline=pipeline)
        pipeline.expire(job.key, retention_s)
        # RQ never trims this registry.
        pipeline.zrem(CanceledJobRegistry(job.origin, connection=job.connection).key, job.id)
        pipeline.execute()


def encode_failure(failure: JobFailure) -> str:
    """A failure as it lies in :attr:`Field.FAILURE`."""
    return json.dumps(asdict(failure))


class RqJobQueue:
    """Jobs in an RQ queue. Thread-safe."""

    def __init__(
        self, redis: Redis, *, job_timeout_s: int, retention_s: int, queue_name: str = QUEUE_NAME
    ) -> None:
        self._redis = redis
        self._job_timeout_s = job_timeout_s
        self._retention_s = retention_s
        self._queue = Queue(queue_name, connection=redis, serializer=JSONSerializer)

    def submit(self, job: UpscaleJob) -> None:
        """See :class:`JobQueue`."""
        with _translated():
            if Job.exists(job.id, connection=self._redis):
                raise DuplicateJobError(job.id)
            self._queue.enqueue_call(
                FUNCTION_NAME,
                kwargs={"job": job.to_json()},
                job_id=job.id,
                timeout=self._job_timeout_s,
                result_ttl=self._retention_s,
                failure_ttl=self._retention_s,
                # Without a retry, RQ would fail the jobs of a worker that died.
                retry=Retry(max=MAX_ATTEMPTS - 1),
                description=f"{job.model} x{job.scale} {job.input.width_px}x{job.input.height_px}",
            )

    def find(self, job_id: str) -> JobRecord | None:
        """See :class:`JobQueue`."""
        with _translated():
            job = self._fetch(job_id)
            if job is None:
                return None
            progress, failure, cancel = self._redis.hmget(
                job.key, [Field.PROGRESS, Field.FAILURE, Field.CANCEL]
            )
            status = _STATUS_OF_RQ[job.get_status(refresh=False)]
            value = job.return_value() if status is JobStatus.SUCCEEDED else None
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
            ended_at=_epoch_s(job.ended_at) if status.final else None,
            result=result,
            failure=_failure(failure) if status is JobStatus.FAILED else None,
        )

    def cancel(self, job_id: str) -> None:
        """See :class:`JobQueue`."""
        with _translated():
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
                end_canceled(job, self._retention_s)

    def forget(self, job_id: str) -> None:
        """See :class:`JobQueue`."""
        with _translated():
            job = self._fetch(job_id)
            # A worker that still has a canceled job would write it back without an expiry.
            if job is None or job.get_status(refresh=False) is RqStatus.STARTED:
                return
            # Not RQ's `Job.delete`: it loads the records of every attempt, and fails where a worker died in one.
            registries = (FinishedJobRegistry, FailedJobRegistry, CanceledJobRegistry, StartedJobRegistry)
            with self._redis.pipeline() as pipeline:
                for registry in registries:
                    pipeline.zrem(registry(self._queue.name, connection=self._redis).key, job_id)
                pipeline.lrem(self._queue.key, 0, job_id)
                pipeline.delete(
                    job.key, Result.get_key(job_id), ExecutionRegistry(job_id, connection=self._redis).key
                )
                pipeline.execute()

    def waiting(self) -> int:
        """See :class:`JobQueue`."""
        with _translated():
            return int(self._queue.count)

    def ping(self) -> None:
        """See :class:`JobQueue`."""
        with _translated():
            self._redis.ping()

    def _fetch(self, job_id: str) -> Job | None:
        try:
            return Job.fetch(job_id, connection=self._redis, serializer=JSONSerializer)
        except (NoSuchJobError, ValueError):  # ValueError: not an id that RQ would ever give
            return None


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except RedisError as error:
        raise QueueUnavailableError(str(error)) from error


def _epoch_s(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None


def _failure(stored: bytes | str | None) -> JobFailure:
    return JobFailure(**json.loads(stored)) if stored else WORKER_LOST
