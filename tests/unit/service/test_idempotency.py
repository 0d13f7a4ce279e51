"""Idempotency-Key: one job for a request however often it is sent."""

import asyncio
import json

import httpx
import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from service.idempotency import CLAIM_S, CLAIMS_PREFIX, IN_PROGRESS_S, IdempotencyKeys
from service.limits import Allowance
from tests.samples import sample_job, sample_result
from tests.unit.service.conftest import LIMITS, World
from tests.unit.service.pictures import encoded
from worker.contract.blobs import BlobStoreError
from worker.contract.queue import JobQueue

pytestmark = pytest.mark.anyio

KEY = {"Idempotency-Key": "a key of mine"}
PICTURE = encoded("PNG")


async def send(
    world: World,
    headers: dict[str, str] = KEY,
    options: dict[str, str] | None = None,
    picture: bytes | None = None,
    filename: str = "photo.png",
) -> httpx.Response:
    files = {"image": (filename, picture or PICTURE)}
    return await world.client.post("/upscale", files=files, data=options, headers=headers)


def claim_name(valkey: Redis) -> bytes:
    (name,) = valkey.keys(f"{CLAIMS_PREFIX}:*")
    assert isinstance(name, bytes)
    return name


async def test_the_same_request_makes_one_job(world: World) -> None:
    first = await send(world)
    assert (first.status_code, "idempotency-replayed" in first.headers) == (202, False)
    again = await send(world)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (202, "true")
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert world.queue.waiting() == 1
    assert 0 < world.redis.ttl(claim_name(world.redis)) <= CLAIM_S

    world.worker.succeed(first.json()["id"], sample_result())
    assert (await send(world)).json()["status"] == "succeeded"


@pytest.mark.parametrize(
    "other", [{"options": {"scale": "2"}}, {"picture": encoded("JPEG")}, {"filename": "other.png"}]
)
async def test_another_payload_is_refused(world: World, other: dict[str, object]) -> None:
    await send(world)
    response = await send(world, **other)  # type: ignore[arg-type]
    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
    assert world.queue.waiting() == 1


async def test_other_keys_make_other_jobs(world: World) -> None:
    jobs = [await send(world, {"Idempotency-Key": key}) for key in ("a", "b", '"a"')]
    assert len({response.json()["id"] for response in jobs}) == 3


async def test_callers_do_not_share_keys(world: World) -> None:
    jobs = [await send(world, KEY | world.key(name)) for name in ("one", "other")]
    assert [response.status_code for response in jobs] == [202, 202]
    assert len({response.json()["id"] for response in jobs}) == 2


@pytest.mark.parametrize("key", ["", "é".encode("latin-1"), b"\x01", "x" * 256])
async def test_what_can_be_no_key(world: World, key: str | bytes) -> None:
    response = await send(world, {"Idempotency-Key": key})  # type: ignore[dict-item]
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
    assert world.queue.waiting() == 0


async def test_many_at_once_make_one_job(world: World) -> None:
    responses = await asyncio.gather(*(send(world) for _ in range(12)))
    made = [response for response in responses if response.status_code == 202]
    assert len({response.json()["id"] for response in made}) == 1
    assert {r.json()["code"] for r in responses if r.status_code != 202} <= {"request_in_progress"}
    assert world.queue.waiting() == 1


async def test_a_request_that_failed_may_be_sent_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise BlobStoreError("full")

    with monkeypatch.context() as patched:
        patched.setattr(world.blobs, "put", full)
        assert (await send(world)).status_code == 503
    response = await send(world)
    assert (response.status_code, "idempotency-replayed" in response.headers) == (202, False)


async def test_a_repeated_request_is_answered_while_the_queue_is_full(world: World) -> None:
    first = await send(world)
    for _ in range(LIMITS.max_queued_jobs - 1):
        await world.accepted()
    assert (await send(world, {"Idempotency-Key": "new"})).status_code == 503
    assert (await send(world)).json()["id"] == first.json()["id"]


async def test_a_replay_takes_nothing_from_the_quota(world: World) -> None:
    mine = world.key("mine", Allowance(queued_jobs=1, megapixels_per_day=1))
    first = await send(world, KEY | mine)
    left = first.headers["ratelimit"]
    assert (await send(world, KEY | mine)).headers["ratelimit"] == left


async def test_the_claim_of_a_gateway_that_died_is_taken_over(world: World) -> None:
    await send(world)
    name = claim_name(world.redis)
    claim = json.loads(world.redis.get(name) or b"")
    claim["job_id"] = "never-made"
    world.redis.set(name, json.dumps(claim))
    response = await send(world)
    assert (response.status_code, response.json()["code"]) == (409, "request_in_progress")
    assert response.headers["retry-after"] == "1"

    claim["claimed_at"] -= IN_PROGRESS_S
    world.redis.set(name, json.dumps(claim))
    response = await send(world)
    assert (response.status_code, "idempotency-replayed" in response.headers) == (202, False)
    assert (await send(world)).json()["id"] == response.json()["id"]


async def test_a_claim_that_cannot_be_released_hides_no_error(
    valkey: Redis, queue: JobQueue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(*arguments: object) -> None:
        raise RedisConnectionError("gone")

    keys = IdempotencyKeys(valkey, queue)
    with pytest.raises(ValueError, match="the cause"), keys.claimed("a", sample_job("a")):  # noqa: PT012
        monkeypatch.setattr(valkey, "eval", gone)
        raise ValueError("the cause")
    assert "stays claimed" in caplog.text
