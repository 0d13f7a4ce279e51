import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import anyio
import httpx
import pytest
from rq.job import Job
from rq.utils import utcformat

from service.limits import Limits
from tests.samples import sample_job
from tests.unit.service.conftest import LIMITS, World, client_with
from tests.unit.service.pictures import encoded
from tests.unit.service.slow_uploads import slow_upload, trickling
from worker.contract.backlog import Backlog
from worker.contract.jobs import Priority
from worker.contract.queue import QueueStatistics

pytestmark = pytest.mark.anyio

PNG = {"Content-Type": "image/png"}
SAMPLE_PX = 40 * 30


async def post(world: World, limits: Limits) -> tuple[httpx.Response, bool]:
    """A new gateway's answer, and whether it asked for the body."""
    asked = False

    async def body() -> AsyncIterator[bytes]:
        nonlocal asked
        asked = True
        yield encoded("PNG")

    async with client_with(world, limits=limits) as client:
        return await client.post("/upscale", content=body(), headers=PNG), asked


def wait_since(world: World, job_id: str, priority: Priority, age_s: float) -> None:
    """Put a job into the queue that has waited for so long."""
    world.queue.submit(replace(sample_job(job_id), priority=priority))
    since = datetime.fromtimestamp(time.time() - age_s, UTC)
    world.redis.hset(Job.key_for(job_id), "enqueued_at", utcformat(since))


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (replace(LIMITS, max_queued_jobs=2), "2 jobs wait"),
        (replace(LIMITS, max_queued_pixels=9 * SAMPLE_PX), "0.0108 megapixels wait"),
        (replace(LIMITS, max_queue_age_s=50.0), "The first in line has waited for 50 s"),
    ],
)
async def test_a_full_queue_is_said_before_the_body_is_received(
    world: World, limits: Limits, reason: str
) -> None:
    wait_since(world, "a", Priority.INTERACTIVE, age_s=60.0)
    world.queue.submit(replace(sample_job("b"), ensemble=True))
    response, asked = await post(world, limits)
    assert (response.status_code, response.json()["code"], asked) == (503, "queue_full", False)
    assert response.json()["detail"].startswith(reason)
    assert int(response.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    "limits",
    [
        replace(LIMITS, max_queued_jobs=3),
        replace(LIMITS, max_queued_pixels=9 * SAMPLE_PX + 1),
        replace(LIMITS, max_queue_age_s=3600.0),
    ],
)
async def test_below_every_bound_a_job_is_taken(world: World, limits: Limits) -> None:
    wait_since(world, "a", Priority.INTERACTIVE, age_s=60.0)
    world.queue.submit(replace(sample_job("b"), ensemble=True))
    response, asked = await post(world, limits)
    assert (response.status_code, asked) == (202, True), response.text


async def test_bulk_jobs_may_wait_long(world: World) -> None:
    wait_since(world, "a", Priority.BULK, age_s=60.0)
    response, _ = await post(world, replace(LIMITS, max_queue_age_s=50.0))
    assert response.status_code == 202


async def test_the_queue_is_walked_through_once_in_a_while(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks = 0

    def statistics() -> QueueStatistics:
        nonlocal walks
        walks += 1
        return QueueStatistics({}, {}, 0, Backlog(0, 0, 0.0))

    monkeypatch.setattr(world.queue, "statistics", statistics)
    monkeypatch.setattr("service.admission.MEASURED_FOR_S", 3600.0)
    await world.accepted()
    await world.accepted()
    assert walks == 1
    monkeypatch.setattr("service.admission.MEASURED_FOR_S", 0.0)
    await world.accepted()
    assert walks > 1


async def test_so_many_uploads_are_received_at_once(world: World) -> None:
    async with client_with(world, limits=replace(LIMITS, max_uploads=2)) as client:
        async with slow_upload(client):
            assert (await client.post("/upscale", files={"image": encoded("PNG")})).status_code == 202
            async with slow_upload(client):
                response = await client.post("/upscale", content=trickling(), headers=PNG)
                assert (response.status_code, response.json()["code"]) == (503, "too_many_uploads")
                assert response.headers["retry-after"] == "1"
        # Those that were broken off count no more, nor do those that failed.
        for _ in range(3):
            assert (await client.post("/upscale", content=b"no picture", headers=PNG)).status_code == 415


async def test_whoever_is_refused_takes_no_place(world: World) -> None:
    limits = replace(LIMITS, max_uploads=1, max_queued_jobs=1)
    await world.accepted()
    async with client_with(world, limits=limits) as client:
        for _ in range(2):
            response = await client.post("/upscale", files={"image": encoded("PNG")})
            assert response.json()["code"] == "queue_full"


async def test_a_job_that_is_waited_for_is_no_upload(world: World) -> None:
    async with (
        client_with(world, limits=replace(LIMITS, max_uploads=1)) as client,
        anyio.create_task_group() as tasks,
    ):

        async def wait() -> None:
            await client.post("/upscale", files={"image": encoded("PNG")}, headers={"Prefer": "wait=60"})

        tasks.start_soon(wait)
        with anyio.fail_after(20):
            while not world.queue.waiting():
                await anyio.sleep(0.01)
            while (await client.post("/upscale", files={"image": encoded("PNG")})).status_code == 503:
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
