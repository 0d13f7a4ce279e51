"""Which jobs came in one request, in Redis, where every gateway finds it."""

import secrets
import time
from dataclasses import dataclass
from hashlib import sha256

from pydantic import TypeAdapter
from redis import Redis

from service.errors import IDEMPOTENCY_KEY_REUSED, ProblemError
from service.idempotency import CLAIM_S
from worker.contract.jobs import JobFailure
from worker.contract.queue import RECORD_LIVES, redis_errors_translated

GROUPS_PREFIX = "enlarger:groups"
CLAIMS_PREFIX = "enlarger:group-keys"


@dataclass(frozen=True)
class StoredItem:
    """A picture of a batch."""

    filename: str
    """The name that the client gave, made harmless; may be empty."""
    job_id: str | None
    """What it became."""
    refusal: JobFailure | None
    """Why it became nothing."""


@dataclass(frozen=True)
class StoredGroup:
    """A batch that was accepted."""

    id: str
    """Unguessable."""
    owner: str
    """The id of the API key that it was sent with; empty where the service asks for none."""
    created_at: float
    """In seconds since the epoch."""
    items: tuple[StoredItem, ...]
    """In the order of the request."""

    @property
    def job_ids(self) -> list[str]:
        """Of those that became jobs, in order."""
        return [item.job_id for item in self.items if item.job_id]


@dataclass(frozen=True)
class _Claim:
    fingerprint: str
    group_id: str


_GROUP = TypeAdapter(StoredGroup)
_CLAIM = TypeAdapter(_Claim)


class GroupStore:
    """Groups live as long as the records of their jobs. Blocks; every method may raise QueueUnavailableError."""

    def __init__(self, redis: Redis, *, retention_s: int) -> None:
        """`retention_s`: how long a job's pictures are kept after its end."""
        self._redis = redis
        self._lives_s = RECORD_LIVES * retention_s

    def new_id(self, owner: str, idempotency_key: str | None, fingerprint: str) -> str:
        """The id for a group; the one that an earlier request with the same key and payload was given, where there was one.

        Raises ProblemError where the key stands for another payload.
        """
        claim = _Claim(fingerprint, secrets.token_hex(16))
        if idempotency_key is None:
            return claim.group_id
        name = f"{CLAIMS_PREFIX}:{owner}:{sha256(idempotency_key.encode()).hexdigest()}"
        with redis_errors_translated():
            stored = self._redis.set(name, _CLAIM.dump_json(claim), nx=True, get=True, ex=CLAIM_S)
        if stored is None:
            return claim.group_id
        earlier = _CLAIM.validate_json(stored)  # type: ignore[arg-type]
        if earlier.fingerprint != fingerprint:
            raise ProblemError(IDEMPOTENCY_KEY_REUSED)
        return earlier.group_id

    def put(self, group_id: str, owner: str, items: list[StoredItem]) -> StoredGroup:
        """Store what became of a batch; where it was sent again, what has become of it by now."""
        earlier = self.find(group_id)
        group = StoredGroup(group_id, owner, earlier.created_at if earlier else time.time(), tuple(items))
        with redis_errors_translated():
            self._redis.set(_name(group_id), _GROUP.dump_json(group), ex=self._lives_s)
        return group

    def find(self, group_id: str) -> StoredGroup | None:
        """The group, or None if it is unknown or its time is over."""
        with redis_errors_translated():
            stored = self._redis.get(_name(group_id))
        return None if stored is None else _GROUP.validate_json(stored)

    def forget(self, group_id: str) -> None:
        """Delete the record; nothing there is no error."""
        with redis_errors_translated():
            self._redis.delete(_name(group_id))


def _name(group_id: str) -> str:
    return f"{GROUPS_PREFIX}:{group_id}"
