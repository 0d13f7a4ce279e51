"""API keys: `enl_<id>_<secret>`, in a hash of Redis.

Only a key's SHA-256 is stored. That is right for a secret of 256 random bits, which nobody can guess however fast the hash;
a slow hash is for passwords, and would cost every request its time.
"""

import hmac
import logging
import re
import secrets
import time
from dataclasses import dataclass
from hashlib import sha256

from pydantic import TypeAdapter, ValidationError
from redis import Redis
from rq.utils import as_text

from service.limits import NO_LIMITS, Allowance
from worker.contract.queue import redis_errors_translated

KEYS_HASH = "enlarger:keys"
"""Of each key: its id, and its record as JSON."""
ID_BYTES = 8
SECRET_BYTES = 32
KEY = re.compile(r"enl_([A-Za-z0-9-]{12,64})_([A-Za-z0-9_-]{43})")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ApiKey:
    """What is known of a key; never the key itself."""

    id: str
    """Not secret: logs and jobs name it."""
    name: str
    """Whose it is, in the operator's words."""
    created_at: float
    """In seconds since the epoch."""
    allowance: Allowance
    """Its own limits, which go before the defaults."""


@dataclass(frozen=True)
class _Record:
    """A key as it is stored."""

    name: str
    sha256: str
    created_at: float
    allowance: Allowance


_RECORD = TypeAdapter(_Record)


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


_NOBODY = _RECORD.dump_json(_Record("", _digest(secrets.token_urlsafe(SECRET_BYTES)), 0.0, NO_LIMITS))
"""What an unknown id is compared with, so that it costs what a known one does. Its secret is forgotten already."""


class KeyStore:
    """The keys of one service. Thread-safe. Every method may raise QueueUnavailableError."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def create(self, name: str, allowance: Allowance = NO_LIMITS) -> str:
        """A new key's text, which nobody can be told again."""
        key_id, secret = secrets.token_hex(ID_BYTES), secrets.token_urlsafe(SECRET_BYTES)
        record = _Record(name, _digest(secret), time.time(), allowance)
        with redis_errors_translated():
            self._redis.hset(KEYS_HASH, key_id, _RECORD.dump_json(record))
        return f"enl_{key_id}_{secret}"

    def find(self, text: str) -> ApiKey | None:
        """The key with that text, in one round trip; None if there is none, or none any more."""
        parts = KEY.fullmatch(text)
        if parts is None:
            return None
        key_id, secret = parts.groups()
        with redis_errors_translated():
            stored = self._redis.hget(KEYS_HASH, key_id)
        record = _read(key_id, stored or _NOBODY)
        if record is None or not hmac.compare_digest(record.sha256, _digest(secret)):
            return None
        return ApiKey(key_id, record.name, record.created_at, record.allowance)

    def all(self) -> list[ApiKey]:
        """Every key, the oldest first."""
        with redis_errors_translated():
            stored = self._redis.hgetall(KEYS_HASH)
        records = {as_text(key_id): _read(as_text(key_id), record) for key_id, record in stored.items()}
        keys = [ApiKey(i, r.name, r.created_at, r.allowance) for i, r in records.items() if r]
        return sorted(keys, key=lambda key: key.created_at)

    def any(self) -> bool:
        """Whether there is a key."""
        with redis_errors_translated():
            return self._redis.hlen(KEYS_HASH) > 0

    def revoke(self, key_id: str) -> bool:
        """Let the key open nothing from now on; False if there is none with that id."""
        with redis_errors_translated():
            return self._redis.hdel(KEYS_HASH, key_id) > 0


def _read(key_id: str, stored: bytes | str) -> _Record | None:
    try:
        return _RECORD.validate_json(stored)
    except ValidationError:
        # Without the error's text, which quotes the record.
        logger.error("the record of the key %s cannot be read, so that it opens nothing: revoke it", key_id)
        return None
