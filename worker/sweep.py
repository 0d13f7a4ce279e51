"""Erasing the pictures of jobs that ended long ago.

Redis forgets a job by itself; a blob store does not. Any worker may
sweep: a lock in Redis lets one of them do it in each interval.
"""

import logging
import threading
from datetime import UTC, datetime, timedelta

from redis import Redis
from redis.exceptions import RedisError
from rq.job import Job
from rq.utils import str_to_date

from worker.contract.blobs import BlobStore, BlobStoreError
from worker.contract.queue import prune_lists

logger = logging.getLogger(__name__)

SWEEP_EVERY_S = 3600
_LOCK_KEY = "enlarger:sweep"


class Sweep:
    """Sweeps once in an interval, on a thread of its own, until stopped."""

    def __init__(self, redis: Redis, blobs: BlobStore, *, retention_s: int) -> None:
        self._redis = redis
        self._blobs = blobs
        self._retention_s = retention_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweep", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, at the next picture's end."""
        self._stopped.set()
        self._thread.join()

    def sweep(self) -> int:
        """Erase what is older than the retention and whose job ended before that, or is gone; say how many jobs that were.

        An upload comes before its job, but it is young then. Raises BlobStoreError or RedisError.
        """
        before = datetime.now(UTC) - timedelta(seconds=self._retention_s)
        erased = 0
        for prefix in self._blobs.untouched_since("jobs/", before):
            if self._stopped.is_set():
                break
            if self._over(prefix.split("/")[1], before):
                try:
                    self._blobs.erase(prefix)
                    erased += 1
                except BlobStoreError as error:  # the others are to be erased all the same
                    logger.error("%s could not be erased: %s", prefix, error)
        prune_lists(self._redis, before.timestamp())
        return erased

    def _over(self, job_id: str, before: datetime) -> bool:
        key = Job.key_for(job_id)
        ended_at = self._redis.hget(key, "ended_at")
        if ended_at:
            return str_to_date(ended_at) < before
        return not self._redis.exists(key)

    def _run(self) -> None:
        while True:
            try:
                if self._redis.set(_LOCK_KEY, "1", nx=True, ex=SWEEP_EVERY_S):
                    erased = self.sweep()
                    if erased:
                        logger.info("erased the pictures of %d expired jobs", erased)
            except (BlobStoreError, RedisError) as error:
                logger.error("the sweep failed and will be tried again: %s", error)
            if self._stopped.wait(SWEEP_EVERY_S / 4):
                return
