"""GET /jobs."""

import base64
from itertools import chain

import pytest

import service.job_list
from tests.samples import sample_result
from tests.unit.service.conftest import LIMITS, World
from worker.contract.jobs import JobStatus

pytestmark = pytest.mark.anyio


async def ended(world: World, count: int) -> list[str]:
    """The ids of jobs that have succeeded, the newest first."""
    ids: list[str] = []
    for _ in range(count):
        ids.insert(0, await world.accepted({"scale": "2"}))
        world.worker.succeed(ids[0], sample_result())
    return ids


async def pages(world: World, url: str) -> list[list[str]]:
    found = []
    next_url: str | None = url
    while next_url:
        response = await world.client.get(next_url)
        assert response.status_code == 200, response.text
        page = response.json()
        found.append([job["id"] for job in page["jobs"]])
        next_url = page["next"]
        assert response.links.get("next", {}).get("url") == next_url
    return found


async def test_the_newest_come_first_page_by_page(world: World) -> None:
    ids = await ended(world, 5)
    assert await pages(world, "/jobs") == [ids]
    assert await pages(world, "/jobs?limit=5") == [ids]
    assert await pages(world, "/jobs?limit=2") == [ids[:2], ids[2:4], ids[4:]]


async def test_each_is_as_it_is_by_itself(world: World) -> None:
    (job_id,) = await ended(world, 1)
    listed = (await world.client.get("/jobs")).json()["jobs"]
    assert listed == [(await world.client.get(f"/jobs/{job_id}")).json()]


async def test_those_of_a_status(world: World) -> None:
    done = await ended(world, 2)
    waiting = [await world.accepted() for _ in range(LIMITS.max_queued_jobs)][::-1]
    for status in JobStatus:
        expected = {JobStatus.SUCCEEDED: done, JobStatus.QUEUED: waiting}.get(status, [])
        assert await pages(world, f"/jobs?status={status}") == [expected]
        one_by_one = await pages(world, f"/jobs?status={status}&limit=1")
        assert list(chain(*one_by_one)) == expected


async def test_one_request_looks_at_so_many_jobs_at_most(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await ended(world, 5)
    await world.accepted()
    monkeypatch.setattr(service.job_list, "MOST_LOOKED_AT", 2)
    found = await pages(world, "/jobs?status=succeeded")
    assert (len(found), list(chain(*found))) == (3, ids)


async def test_callers_see_their_own(world: World) -> None:
    one, other = world.key("one"), world.key("other")
    response = await world.client.post("/upscale", files={"image": b""}, headers=one)
    assert response.status_code == 400
    assert (await world.client.get("/jobs", headers=other)).json() == {"jobs": [], "next": None}
    assert (await world.client.get("/jobs")).status_code == 401


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=x",
        "status=done",
        "cursor=x",
        "cursor=%C3%A9",
        "cursor=" + "x" * 201,
        "cursor=" + base64.urlsafe_b64encode(b'{"a": 1}').decode(),
        "cursor=" + base64.urlsafe_b64encode(b'["NaN", "a"]').decode(),
        "cursor=" + base64.urlsafe_b64encode(b'[1e400, "a"]').decode(),
        "cursor=" + base64.urlsafe_b64encode(b"[" * 100).decode(),
    ],
)
async def test_what_cannot_be_asked(world: World, query: str) -> None:
    response = await world.client.get(f"/jobs?{query}")
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")
