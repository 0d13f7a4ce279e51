"""Jobs whose worker is gone: back into their line, or failed where their attempts are used up.

RQ's own clean-up reads which leases have lapsed and then writes, without looking again: a worker that was only silent for a while
may have ended its job in between, and an ended job would run again or be failed. Here each job is written only if nobody touched it since it was
looked at.
"""

import logging
import time
from collections.abc import Callable
from typing import Any

from redis.exceptions import WatchError
from rq import Queue
from rq.exceptions import AbandonedJobError, NoSuchJobError
from rq.job import Job, JobStatus
from rq.registry import StartedJobRegistry
from rq.utils import as_text, now, utcformat

from worker.contract.webhooks import nudge
from worker.lines import is_nonsense

logger = logging.getLogger(__name__)


def give_back_abandoned(queue: Queue, on_failed: Callable[[], None]) -> None:
    """Do so with every job of the queue whose lease has lapsed; `on_failed` is called for each that has no attempt left."""
    key, now_s = StartedJobRegistry(queue=queue).key, time.time()
    entries: list[Any] = queue.connection.zrange(key, 0, -1, withscores=True)
    held = {_job_id(entry) for entry, until_s in entries if until_s >= now_s}
    for entry in [entry for entry, until_s in entries if until_s < now_s]:
        try:
            if _job_id(entry) in held:  # by another worker, in a later attempt
                queue.connection.zrem(key, entry)
            else:
                _give_back(queue, key, entry, on_failed)
        except WatchError:
            logger.info("%r was touched just now, and is left alone", entry)
        except Exception as error:
            if not is_nonsense(error):
                raise
            logger.error(
                "%s holds something that is no job's, and is dropped: %.80r: %.200s", key, entry, error
            )
            queue.connection.zrem(key, entry)


def _job_id(entry: bytes) -> bytes:
    return entry.rpartition(b":")[0]


def _give_back(queue: Queue, key: str, entry: bytes, on_failed: Callable[[], None]) -> None:
    job_id = as_text(_job_id(entry))
    with queue.connection.pipeline() as pipeline:
        pipeline.watch(Job.key_for(job_id))
        try:
            job = queue.job_class.fetch(job_id, connection=queue.connection, serializer=queue.serializer)
        except NoSuchJobError:
            job = None
        pipeline.multi()
        pipeline.zrem(key, entry)
        if job is None or job.get_status(refresh=False) is not JobStatus.STARTED:
            pipeline.execute()
            return
        again = bool(job.retries_left)
        if again:
            job.retry(queue, pipeline)
        else:
            job.set_status(JobStatus.FAILED, pipeline=pipeline)
            job._handle_failure(AbandonedJobError.__name__, pipeline, worker_name="")
            pipeline.hset(job.key, "ended_at", utcformat(now()))  # RQ leaves it out
            nudge(pipeline, job_id)
        pipeline.execute()
    logger.warning(
        "the worker of job %s is gone: %s", job_id, "back in line" if again else "no attempt is left"
    )
    if not again:
        on_failed()
