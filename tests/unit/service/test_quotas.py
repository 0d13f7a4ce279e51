"""Quotas on a real Valkey, by two gateways that share it."""

import re
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.app import create_app
from service.auth import ANYBODY, AuthMode, Caller, Gate
from service.errors import ProblemError
from service.keys import KeyStore
from service.limits import Allowance
from service.quotas import MEGAPIXEL, Quotas, Standing
from tests.unit.service.conftest import World
from tests.unit.service.pictures import encoded, flat_png
from worker.contract.queue import JobQueue, QueueUnavailableError

pytestmark = pytest.mark.anyio

ITEM = r'"[a-z-]+"(;[a-z]+=(\d+|"[a-z]+"))+'
LIST = re.compile(rf"{ITEM}(, {ITEM})*")
"""What we use of a List of RFC 9651: strings with parameters."""


def items(header: str) -> dict[str, dict[str, str]]:
    """A RateLimit header's parameters by policy."""
    assert LIST.fullmatch(header), header
    parsed = {}
    for item in header.split(", "):
        name, *parameters = item.split(";")
        parsed[name.strip('"')] = dict(parameter.split("=") for parameter in parameters)
    return parsed


async def test_a_caller_is_told_what_is_left_on_every_answer(world: World) -> None:
    key = world.key(allowance=Allowance(requests_per_minute=10, queued_jobs=2, megapixels_per_day=5))
    policy = '"requests";q=10;w=60, "megapixels";q=5;w=86400;qu="megapixels", "queued-jobs";q=2;qu="jobs"'
    picture = {"image": ("photo.png", flat_png(1000, 600))}
    answers = [
        await world.client.get("/models", headers=key),
        await world.client.post("/upscale", data={"scale": "2"}, files=picture, headers=key),
        await world.client.get("/jobs/nobody", headers=key),
        await world.client.post("/upscale", content=b"x", headers={**key, "Content-Type": "text/plain"}),
        await world.client.put("/models", headers=key),
    ]
    assert [answer.status_code for answer in answers] == [200, 202, 404, 415, 405]
    assert all(answer.headers["RateLimit-Policy"] == policy for answer in answers[:4])
    left = [items(answer.headers["RateLimit"]) for answer in answers[:4]]
    assert [now["requests"]["r"] for now in left] == ["9", "8", "7", "6"]
    assert [now["megapixels"]["r"] for now in left] == ["5", "4", "4", "4"]
    assert all(0 < int(now["requests"]["t"]) <= 61 for now in left)
    # No route, so no caller.
    assert "RateLimit" not in answers[4].headers


async def test_who_has_no_limit_is_told_of_none(world: World) -> None:
    for headers in ({}, world.key()):
        assert "RateLimit" not in (await world.client.get("/models", headers=headers)).headers


async def test_requests_run_out_and_come_back(world: World) -> None:
    key, other = (world.key(allowance=Allowance(requests_per_minute=3)) for _ in range(2))
    answers = [await world.client.get("/models", headers=key) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    refused = answers[3]
    assert refused.json()["code"] == "too_many_requests"
    assert 50 <= int(refused.headers["Retry-After"]) <= 61  # this minute's end
    left = items(refused.headers["RateLimit"])["requests"]
    assert (left["r"], left["t"]) == ("0", refused.headers["Retry-After"])
    assert refused.headers["RateLimit-Policy"] == '"requests";q=3;w=60'
    assert (await world.client.get("/models", headers=other)).status_code == 200
    assert (await world.client.get("/healthz", headers=key)).status_code == 200


async def test_a_wrong_key_does_not_count_as_its_owners_request(world: World) -> None:
    key = world.key(allowance=Allowance(requests_per_minute=1))
    forged = {"X-API-Key": key["X-API-Key"][:-4] + "AAAA"}
    for _ in range(3):
        assert (await world.client.get("/models", headers=forged)).status_code == 401
    assert (await world.client.get("/models", headers=key)).status_code == 200


async def test_own_jobs_are_bounded_before_the_body_is_read(world: World) -> None:
    key, other = (world.key(allowance=Allowance(queued_jobs=1)) for _ in range(2))
    files = {"image": ("photo.png", encoded("PNG"))}
    first = await world.client.post("/upscale", files=files, headers=key)
    asked = False

    async def body() -> AsyncIterator[bytes]:
        nonlocal asked
        asked = True
        yield b"x"

    refused = await world.client.post(
        "/upscale", content=body(), headers={**key, "Content-Type": "image/png"}
    )
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_own_jobs")
    assert refused.headers["RateLimit-Policy"] == '"queued-jobs";q=1;qu="jobs"'
    assert int(refused.headers["Retry-After"]) > 0
    assert not asked
    assert (await world.client.post("/upscale", files=files, headers=other)).status_code == 202
    world.worker.start(first.json()["id"])
    assert (await world.client.post("/upscale", files=files, headers=key)).status_code == 202


async def test_what_is_refused_takes_no_megapixels(world: World) -> None:
    world.client.headers.update(world.key(allowance=Allowance(megapixels_per_day=1)))
    large = flat_png(1000, 900)
    assert (await world.post({"scale": "3"}, large)).status_code == 413
    assert (await world.post({"scale": "2", "model": "nope"}, large)).status_code == 400
    assert (await world.post({"scale": "2"}, large[:-20])).status_code == 400
    refused = await world.post({"scale": "2", "ensemble": "true"}, large)
    assert (refused.status_code, refused.json()["code"]) == (429, "pixel_quota_used_up")
    assert refused.headers["Retry-After"] == "86400"  # it never fits
    assert items(refused.headers["RateLimit"])["megapixels"]["r"] == "1"
    assert (await world.post({"scale": "2"}, large)).status_code == 202
    refused = await world.post({"scale": "2"}, large)
    assert (refused.status_code, refused.json()["code"]) == (429, "pixel_quota_used_up")
    assert 86_400 < int(refused.headers["Retry-After"]) < 2 * 86_400
    assert len(world.blobs.keys("jobs/")) == 1


async def test_what_could_not_be_queued_is_given_back(world: World) -> None:
    world.client.headers.update(world.key(allowance=Allowance(megapixels_per_day=1)))
    really = world.queue.submit

    def submit(job: object, name: str | None = None) -> None:
        raise QueueUnavailableError("gone")

    world.queue.submit = submit  # type: ignore[method-assign]
    for _ in range(3):
        assert (await world.post({"scale": "2"}, flat_png(1000, 900))).status_code == 503
    world.queue.submit = really  # type: ignore[method-assign]
    assert (await world.post({"scale": "2"}, flat_png(1000, 900))).status_code == 202


async def test_two_gateways_count_as_one(
    world: World, monkeypatch: pytest.MonkeyPatch, valkey_url: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("ENLARGER_REDIS_URL", valkey_url)
    monkeypatch.setenv("ENLARGER_BLOBS_URL", "memory:///")
    monkeypatch.setenv("ENLARGER_CHECKPOINTS", str(world.checkpoints))
    monkeypatch.setenv("ENLARGER_QUOTA_REQUESTS_PER_MINUTE", "6")
    monkeypatch.setenv("ENLARGER_QUOTA_QUEUED_JOBS", "1")
    one, two = (
        httpx.AsyncClient(transport=httpx.ASGITransport(create_app()), base_url="http://gateway.test")
        for _ in range(2)
    )
    key = world.key()
    files = {"image": ("photo.png", encoded("PNG"))}
    async with one, two:
        assert (await one.post("/upscale", files=files, headers=key)).status_code == 202
        refused = await two.post("/upscale", files=files, headers=key)
        assert refused.json()["code"] == "too_many_own_jobs"
        statuses = [(await c.get("/models", headers=key)).status_code for c in (one, two) * 3]
        assert statuses == [200, 200, 200, 200, 429, 429]


async def test_all_callers_without_a_key_share_the_defaults(world: World) -> None:
    quotas = Quotas(world.redis, world.queue, Allowance(requests_per_minute=2))
    world.app.state.gate = Gate(KeyStore(world.redis), AuthMode.NONE, quotas.count_request)
    statuses = [
        (await world.client.get("/models", headers=headers)).status_code
        for headers in ({}, {"X-API-Key": "of a proxy"}, {})
    ]
    assert statuses == [200, 200, 429]


def test_a_keys_own_limits_go_before_the_defaults(valkey: Redis) -> None:
    quotas = Quotas(valkey, _queue(valkey), Allowance(requests_per_minute=1))
    favoured = Caller("a", Allowance(requests_per_minute=2))
    for _ in range(2):
        quotas.count_request(favoured)
    quotas.count_request(ANYBODY)
    for caller in (favoured, ANYBODY):
        with pytest.raises(ProblemError):
            quotas.count_request(caller)


def test_the_last_megapixel_is_taken_once(valkey: Redis, valkey_url: str) -> None:
    caller = Caller("a", Allowance(megapixels_per_day=10))
    gateways = [Quotas(redis, _queue(redis)) for redis in (valkey, Redis.from_url(valkey_url))]

    def take(n: int) -> bool:
        try:
            gateways[n % 2].take(caller, MEGAPIXEL)
        except ProblemError:
            return False
        return True

    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(take, range(200))) == 10
    gateways[0].give_back(caller, MEGAPIXEL)
    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(take, range(50))) == 1


def test_an_absent_server_is_said_so() -> None:
    nowhere = Redis(unix_socket_path="/nonexistent/valkey.sock", retry=Retry(NoBackoff(), 0))
    quotas = Quotas(nowhere, _queue(nowhere))
    caller = Caller("a", Allowance(1, 1, 1))
    for ask in (quotas.count_request, quotas.check_room, lambda c: quotas.take(c, 1), quotas.headers):
        with pytest.raises(QueueUnavailableError):
            ask(caller)
    quotas.give_back(caller, 1)
    quotas.count_request(ANYBODY)  # asks nobody, since there is no limit


@given(
    previous=st.integers(0, 100),
    previous_left_s=st.floats(0, 60),
    current=st.integers(0, 100),
    limit=st.integers(1, 100),
    cost=st.integers(1, 100),
)
def test_after_the_wait_there_is_room_and_not_a_second_sooner(
    previous: int, previous_left_s: float, current: int, limit: int, cost: int
) -> None:
    # The window before ends to count when this one ends.
    standing = Standing(previous, previous_left_s, current, previous_left_s)

    def room(after_s: float) -> bool:
        if after_s < previous_left_s:
            now = Standing(previous, previous_left_s - after_s, current, 0)
        else:
            now = Standing(current, max(0.0, previous_left_s + 60 - after_s), 0, 0)
        return now.used(60) + cost <= limit

    wait_s = standing.wait_s(60, limit, cost)
    if cost > limit:
        assert wait_s == 60
        return
    assert room(wait_s)
    if wait_s > 0:
        assert not room(max(0.0, wait_s - 1 - 1e-6))


def _queue(redis: Redis) -> JobQueue:
    return JobQueue(redis, job_timeout_s=60, retention_s=600)
