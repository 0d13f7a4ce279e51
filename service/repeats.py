"""Results by content: the same picture with the same options is answered from the store, without device time.

Redis keeps, for what a caller asked, the id of the last job that was made of it. Callers do not share: how fast a picture is
answered would tell one what another has sent.
"""

import json
import logging
from dataclasses import replace
from hashlib import sha256
from importlib.metadata import version

from redis import Redis
from rq.utils import as_text

from worker.contract.blobs import BlobMissingError, BlobStore
from worker.contract.jobs import JobRecord, UpscaleJob
from worker.contract.queue import JobQueue, redis_errors_translated

RESULTS_PREFIX = "enlarger:results"

ENCODERS = version("enlarger")
"""Another release may write the same samples as other bytes."""

logger = logging.getLogger(__name__)


class Repeats:
    """What was asked before. Blocks: call it in a thread."""

    def __init__(self, redis: Redis, queue: JobQueue, blobs: BlobStore) -> None:
        self._redis = redis
        self._queue = queue
        self._blobs = blobs

    def answer(self, job: UpscaleJob, weights_sha256: str) -> JobRecord | None:
        """The job, done already with a copy of an earlier one's result; None where it has to be made.

        `weights_sha256`: of the checkpoint that would make it now. Raises BlobStoreError and QueueUnavailableError.
        """
        with redis_errors_translated():
            earlier_id = self._redis.get(repeats_name(job, weights_sha256))
        earlier = self._queue.find(as_text(earlier_id)) if earlier_id else None
        # A promotion between asking and making: another version made it.
        if not earlier or not earlier.result or earlier.result.checkpoint_sha256 != weights_sha256:
            return None
        try:
            self._blobs.copy(earlier.job.result_key, job.result_key)
        except BlobMissingError:
            return None
        result = replace(earlier.result, decode_s=0.0, upscale_s=0.0, encode_s=0.0, repeated=True)
        self._queue.submit_done(job, result)
        logger.info("repeated from job %s", earlier.job.id)
        return self._queue.find(job.id)


def repeats_name(job: UpscaleJob, weights_sha256: str) -> str:
    """Under which the queue keeps the id of the last job for what was asked."""
    asked = [
        job.input.sha256,
        weights_sha256,
        job.scale,
        job.output_format,
        job.quality,
        job.ensemble,
        repr(job.reading),
        repr(job.finish),
        ENCODERS,
    ]
    return f"{RESULTS_PREFIX}:{job.owner}:{sha256(json.dumps(asked).encode()).hexdigest()}"
