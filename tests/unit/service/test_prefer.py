"""Prefer: wait=N."""

import asyncio
import time

import httpx
import pytest

import service.prefer
from service.prefer import wait_s
from tests.samples import sample_result
from tests.unit.service.conftest import World
from tests.unit.service.pictures import encoded
from worker.contract.jobs import JobFailure
from worker.contract.queue import JobQueue, QueueUnavailableError

pytestmark = pytest.mark.anyio


async def send(world: World, *prefer: str) -> httpx.Response:
    return await world.client.post(
        "/upscale", files={"image": encoded("PNG")}, headers=[("Prefer", value) for value in prefer]
    )


async def job_id(world: World) -> str:
    while not (jobs := list(world.queue.jobs_of(""))):
        await asyncio.sleep(0.01)
    return jobs[0][1].job.id


async def test_a_job_that_ends_in_time_is_the_answer(world: World) -> None:
    answer = asyncio.create_task(send(world, "wait=30"))
    world.worker.succeed(await job_id(world), sample_result())
    response = await answer
    assert (response.status_code, response.json()["status"]) == (200, "succeeded")
    assert response.headers["preference-applied"] == "wait=30"
    assert response.headers["location"] == response.json()["links"]["self"]
    assert "retry-after" not in response.headers


async def test_a_job_that_fails_in_time_too(world: World) -> None:
    answer = asyncio.create_task(send(world, "respond-async", "handling=lenient, wait=30"))
    world.worker.fail(await job_id(world), JobFailure("picture_damaged", "cannot be decoded", False))
    response = await answer
    assert (response.status_code, response.json()["error"]["code"]) == (200, "picture_damaged")


async def test_a_job_that_does_not_end_in_time_is_polled(world: World) -> None:
    began_s = time.monotonic()
    response = await send(world, "wait=1")
    assert time.monotonic() - began_s >= 1
    assert (response.status_code, response.json()["status"]) == (202, "queued")
    assert response.headers["preference-applied"] == "wait=1"
    assert int(response.headers["retry-after"]) > 0


@pytest.mark.parametrize("prefer", ["wait=soon", "wait=-1", "respond-async", "wait", ""])
async def test_what_does_not_ask_to_wait(world: World, prefer: str) -> None:
    response = await send(world, prefer)
    assert (response.status_code, "preference-applied" in response.headers) == (202, False)


def test_a_wait_is_as_long_as_we_allow_at_most() -> None:
    assert wait_s(["wait=999999999"]) == 60
    assert wait_s(['wait="5";x=1']) == 5


async def test_who_comes_beyond_the_room_is_answered_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.prefer, "MOST_WAITING", 0)
    response = await send(world, "wait=30")
    assert (response.status_code, "preference-applied" in response.headers) == (202, False)


async def test_a_job_is_accepted_though_it_cannot_be_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*arguments: object) -> None:
        raise QueueUnavailableError("gone")

    monkeypatch.setattr(JobQueue, "find", gone)
    assert (await send(world, "wait=30")).status_code == 202
