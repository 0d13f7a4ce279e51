import hmac
import json
import logging

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.keys import KEY, KEYS_HASH, KeyStore
from service.limits import NO_LIMITS, Allowance
from worker.contract.queue import QueueUnavailableError


def test_a_key_is_found_by_its_text_alone(valkey: Redis) -> None:
    keys = KeyStore(valkey)
    assert not keys.any()
    allowance = Allowance(queued_jobs=3)
    text = keys.create("laptop", allowance)
    parts = KEY.fullmatch(text)
    assert parts is not None
    found = keys.find(text)
    assert found is not None
    assert (found.id, found.name, found.allowance) == (parts[1], "laptop", allowance)
    assert keys.any()
    for wrong in (
        "",
        "enl_",
        f"enl_{parts[1]}_",
        text[:-1],
        text + "x",
        text[:-1] + ("a" if text[-1] != "a" else "b"),
        text.replace(parts[1], "0" * 16),
        text.upper(),
        f"enl_*_{parts[2]}",
        text + "\n",
        "\N{PILE OF POO}" * 64,
    ):
        assert keys.find(wrong) is None, wrong


def test_of_the_secret_only_a_hash_is_stored(valkey: Redis) -> None:
    text = KeyStore(valkey).create("laptop")
    secret = text.split("_", 2)[2]
    dump = repr(valkey.hgetall(KEYS_HASH))
    assert len(secret) == 43
    assert secret not in dump
    assert all(secret not in repr(key) for key in KeyStore(valkey).all())


def test_keys_are_unlike_each_other(valkey: Redis) -> None:
    keys = KeyStore(valkey)
    texts = [keys.create(f"key {n}") for n in range(50)]
    assert len({text.split("_", 2)[1] for text in texts}) == 50
    assert len({text.split("_", 2)[2] for text in texts}) == 50
    assert [key.name for key in keys.all()] == [f"key {n}" for n in range(50)]
    assert all(key.allowance == NO_LIMITS for key in keys.all())


def test_a_revoked_key_opens_nothing(valkey: Redis) -> None:
    keys = KeyStore(valkey)
    text, other = keys.create("laptop"), keys.create("phone")
    assert keys.revoke(text.split("_")[1])
    assert not keys.revoke(text.split("_")[1])
    assert keys.find(text) is None
    assert keys.find(other) is not None
    assert [key.name for key in keys.all()] == ["phone"]


def test_every_id_costs_the_same_comparison(valkey: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []
    really = hmac.compare_digest

    def compare_digest(a: str, b: str) -> bool:
        compared.append((a, b))
        return really(a, b)

    keys = KeyStore(valkey)
    text = keys.create("laptop")
    secret = text.split("_", 2)[2]
    monkeypatch.setattr("service.keys.hmac.compare_digest", compare_digest)
    assert keys.find(text) is not None
    assert keys.find(text.replace(secret, "A" * 43)) is None
    assert keys.find(f"enl_{'0' * 16}_{secret}") is None
    assert [{len(digest) for digest in pair} for pair in compared] == [{64}] * 3
    assert all(secret not in pair for pair in compared)


def test_a_damaged_record_opens_nothing_and_is_said_so(
    valkey: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    keys = KeyStore(valkey)
    text = keys.create("laptop")
    key_id = text.split("_")[1]
    stored = json.loads(str(valkey.hget(KEYS_HASH, key_id), "utf-8"))  # type: ignore[arg-type]
    valkey.hset(KEYS_HASH, key_id, json.dumps({**stored, "created_at": "yesterday"}))
    with caplog.at_level(logging.ERROR):
        assert keys.find(text) is None
    assert key_id in caplog.text
    assert stored["sha256"] not in caplog.text
    assert keys.all() == []
    assert keys.revoke(key_id)


def test_an_absent_server_is_said_so() -> None:
    keys = KeyStore(Redis(unix_socket_path="/nonexistent/valkey.sock", retry=Retry(NoBackoff(), 0)))
    for ask in (keys.any, keys.all, lambda: keys.create("laptop"), lambda: keys.revoke("a")):
        with pytest.raises(QueueUnavailableError):
            ask()
    with pytest.raises(QueueUnavailableError):
        keys.find(f"enl_{'0' * 16}_{'A' * 43}")
