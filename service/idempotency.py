"""`Idempotency-Key`: a request that is sent twice makes one job (draft-ietf-httpapi-idempotency-key-header-07).

Redis keeps a claim for each key: what was asked, and the id of the job that answers it. Whether that job was made, the queue knows; so
nothing is left half-done by a gateway that dies.
"""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256

from pydantic import TypeAdapter
from redis import Redis

from service.errors import IDEMPOTENCY_KEY_REUSED, REQUEST_IN_PROGRESS, ProblemError
from worker.contract.jobs import JobRecord, UpscaleJob
from worker.contract.queue import JobQueue, QueueUnavailableError, redis_errors_translated

CLAIMS_PREFIX = "enlarger:idempotency"
CLAIM_S = 24 * 3600
"""How long a key is remembered."""
IN_PROGRESS_S = 120.0
"""How long the job of a claim may be missing before its gateway is taken for dead. Storing an upload takes seconds."""

# Only whoever read a claim may put another in its place, or take it away.
_REPLACE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Claim:
    fingerprint: str
    job_id: str
    claimed_at: float


_CLAIM = TypeAdapter(_Claim)


class IdempotencyKeys:
    """The keys that were sent in the last day. Blocks: call it in a thread."""

    def __init__(self, redis: Redis, queue: JobQueue) -> None:
        self._redis = redis
        self._queue = queue

    def known(self, owner: str, key: str | None) -> bool:
        """Whether a request came with that key. Raises QueueUnavailableError."""
        if key is None:
            return False
        with redis_errors_translated():
            return bool(self._redis.exists(_name(owner, key)))

    @contextmanager
    def claimed(self, key: str | None, job: UpscaleJob) -> Iterator[JobRecord | None]:
        """Within it, the only job for its owner's key is made; it gives the one that was made before, where there is one.

        Where making it fails, the key is free again. Without a key, every request is one of its own.
        Raises ProblemError where the key stands for another payload or for a request that is still in progress, and
        QueueUnavailableError.
        """
        if key is None:
            yield None
            return
        name = _name(job.owner, key)
        claim = _CLAIM.dump_json(_Claim(_fingerprint(job), job.id, time.time()))
        earlier = self._claim(name, claim, job)
        try:
            yield earlier
        except BaseException:
            if earlier is None:
                self._release(name, claim)
            raise

    def _claim(self, name: str, claim: bytes, job: UpscaleJob) -> JobRecord | None:
        stored = None
        with redis_errors_translated():
            while stored is None:  # it may have expired between the two
                if self._redis.set(name, claim, nx=True, ex=CLAIM_S):
                    return None
                stored = self._redis.get(name)
        earlier = _CLAIM.validate_json(stored)
        if earlier.fingerprint != _fingerprint(job):
            raise ProblemError(IDEMPOTENCY_KEY_REUSED)
        record = self._queue.find(earlier.job_id)
        if record is not None:
            return record
        if time.time() - earlier.claimed_at < IN_PROGRESS_S:
            raise ProblemError(REQUEST_IN_PROGRESS)
        with redis_errors_translated():
            if not self._redis.eval(_REPLACE, 1, name, stored, claim, CLAIM_S):  # another request was faster
                raise ProblemError(REQUEST_IN_PROGRESS)
        return None

    def _release(self, name: str, claim: bytes) -> None:
        try:
            with redis_errors_translated():
                self._redis.eval(_RELEASE, 1, name, claim)
        except QueueUnavailableError as error:
            logger.warning(
                "the key of a request that failed stays claimed for %.0f s: %s", IN_PROGRESS_S, error
            )


def _name(owner: str, key: str) -> str:
    return f"{CLAIMS_PREFIX}:{owner}:{sha256(key.encode()).hexdigest()}"


def _fingerprint(job: UpscaleJob) -> str:
    """Of what was asked: the picture, its name and the options."""
    ours = ("id", "created_at", "owner", "parameters")
    asked = {name: value for name, value in asdict(job).items() if name not in ours}
    return sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
