"""GET /jobs/{id}/events. The client of these tests has the answer only when the stream has ended."""

import asyncio
import json
from collections.abc import Callable
from itertools import groupby
from typing import Any

import pytest

import service.events
from service.estimates import Estimates
from service.events import Streams
from tests.samples import SettableFleet, sample_job, sample_result
from tests.unit.service.conftest import World
from worker.contract.jobs import JobRecord
from worker.contract.queue import JobQueue, QueueUnavailableError

pytestmark = pytest.mark.anyio


def events(text: str) -> list[dict[str, str]]:
    """Each event's fields; comments are left out."""
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in blocks]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.events, "LOOK_EVERY_S", 0.01)


async def after_a_look(act: Callable[[], Any]) -> None:
    await asyncio.sleep(0.2)
    await asyncio.to_thread(act)


@pytest.mark.usefixtures("impatient")
async def test_each_change_is_told_until_the_end(world: World) -> None:
    job_id = await world.accepted()
    listening = asyncio.create_task(world.client.get(f"/jobs/{job_id}/events"))
    await after_a_look(lambda: world.worker.start(job_id))
    await after_a_look(lambda: world.worker.report(job_id, 0.5))
    await after_a_look(lambda: world.worker.succeed(job_id, sample_result()))
    response = await listening
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    told = events(response.text)
    assert {event["event"] for event in told} == {"job"}
    assert len({event["id"] for event in told}) == len(told)
    jobs = [json.loads(event["data"]) for event in told]
    # While it waits, what is said of its turn may change too.
    assert [change for change, _ in groupby((job["status"], job["progress"]) for job in jobs)] == [
        ("queued", 0.0),
        ("processing", 0.0),
        ("processing", 0.5),
        ("succeeded", 1.0),
    ]
    assert jobs[-1] == (await world.client.get(f"/jobs/{job_id}")).json()


async def test_what_was_seen_is_not_told_again(world: World) -> None:
    job_id = await world.accepted()
    world.worker.succeed(job_id, sample_result())
    url = f"/jobs/{job_id}/events"
    (event,) = events((await world.client.get(url)).text)
    assert (await world.client.get(url, headers={"Last-Event-ID": event["id"]})).text == ""
    assert events((await world.client.get(url, headers={"Last-Event-ID": "older"})).text) == [event]


@pytest.mark.usefixtures("impatient")
async def test_a_deleted_job_is_gone(world: World) -> None:
    job_id = await world.accepted()
    listening = asyncio.create_task(world.client.get(f"/jobs/{job_id}/events"))
    await after_a_look(lambda: world.redis.flushall())
    assert [event["event"] for event in events((await listening).text)] == ["job", "gone"]


@pytest.mark.usefixtures("impatient")
async def test_a_silent_stream_has_comments_and_redis_may_be_away(
    queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_find, looks = queue.find, 0

    def find(job_id: str) -> JobRecord | None:
        nonlocal looks
        looks += 1
        if looks < 5:
            raise QueueUnavailableError("gone")
        return really_find(job_id)

    monkeypatch.setattr(queue, "find", find)
    monkeypatch.setattr(service.events, "COMMENT_EVERY_S", 0.02)
    queue.submit(sample_job("a"))
    stream = Streams(queue, Estimates(queue, SettableFleet())).of("a", "", None)
    told = [await anext(stream) for _ in range(3)]
    assert told[0] == ": still here\n\n"
    assert any("event: job" in event for event in told)
    await stream.aclose()  # type: ignore[attr-defined]


async def test_a_stream_that_is_left_makes_room(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.events, "MOST_STREAMS", 1)
    queue.submit(sample_job("a"))
    streams = Streams(queue, Estimates(queue, SettableFleet()))
    stream = streams.of("a", "", None)
    await anext(stream)
    with pytest.raises(Exception, match="come again later"):
        streams.check_room()
    await stream.aclose()  # type: ignore[attr-defined]
    streams.check_room()


async def test_callers_listen_to_their_own(world: World) -> None:
    job_id = await world.accepted()
    assert (await world.client.get("/jobs/nobody/events")).status_code == 404
    response = await world.client.get(f"/jobs/{job_id}/events", headers=world.key())
    assert response.status_code == 404
