from dataclasses import replace
from datetime import datetime

import httpx
import pytest

from tests.samples import sample_result
from tests.unit.service.conftest import World, client_with
from tests.unit.service.pictures import encoded
from worker.contract.blobs import BlobStore
from worker.contract.jobs import JobFailure

pytestmark = pytest.mark.anyio

RESULT = b"the enlarged picture"


async def succeeded(world: World, filename: str = "photo.png") -> str:
    response = await world.post(filename=filename)
    job_id = str(response.json()["id"])
    record = world.queue.find(job_id)
    assert record is not None
    world.worker.start(job_id)
    world.blobs.put(record.job.result_key, RESULT)
    world.worker.succeed(job_id, replace(sample_result(), size_bytes=len(RESULT)))
    return job_id


async def test_a_job_from_queue_to_result(world: World) -> None:
    job_id = await world.accepted()
    waiting = await world.client.get(f"/jobs/{job_id}")
    assert waiting.status_code == 200
    assert (waiting.json()["status"], waiting.json()["started_at"]) == ("queued", None)
    assert (waiting.headers["retry-after"], waiting.headers["cache-control"]) == ("1", "private, no-cache")

    world.worker.start(job_id)
    world.worker.report(job_id, 0.25)
    running = (await world.client.get(f"/jobs/{job_id}")).json()
    assert (running["status"], running["progress"], running["result"]) == ("processing", 0.25, None)
    assert running["timings"]["queued_s"] >= 0

    world.worker.succeed(job_id, sample_result())
    response = await world.client.get(f"/jobs/{job_id}")
    assert "retry-after" not in response.headers
    done = response.json()
    assert (done["status"], done["progress"], done["error"]) == ("succeeded", 1.0, None)
    assert done["result"]["url"] == done["links"]["result"] == f"/jobs/{job_id}/result"
    assert done["result"]["checkpoint"] == "espcn-x2@1"
    assert done["timings"]["upscale_s"] == 0.02
    created, started, ended = (
        datetime.fromisoformat(done[f"{moment}_at"]) for moment in ("created", "started", "ended")
    )
    assert created <= started <= ended
    assert done["created_at"].endswith("Z")


async def test_a_failed_job_says_why(world: World) -> None:
    job_id = await world.accepted()
    world.worker.fail(job_id, JobFailure("picture_damaged", "The picture is cut off.", retryable=False))
    job = (await world.client.get(f"/jobs/{job_id}")).json()
    assert job["status"] == "failed"
    assert job["error"] == {
        "code": "picture_damaged",
        "message": "The picture is cut off.",
        "retryable": False,
    }
    response = await world.client.get(f"/jobs/{job_id}/result")
    problem = response.json()
    assert (response.status_code, problem["code"], problem["retryable"]) == (409, "picture_damaged", False)
    assert problem["detail"] == "The picture is cut off."


async def test_the_result_is_streamed_with_its_headers(world: World) -> None:
    job_id = await succeeded(world, "Caf\u00e9 am See.jpeg")
    response = await world.client.get(f"/jobs/{job_id}/result")
    assert (response.status_code, response.content) == (200, RESULT)
    assert response.headers["content-type"] == "image/png"
    assert response.headers["content-length"] == str(len(RESULT))
    assert response.headers["etag"] == f'"{sample_result().sha256}"'
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "private, no-cache"
    assert (
        response.headers["content-disposition"]
        == "inline; filename=\"Cafe am See_x4.png\"; filename*=UTF-8''Caf%C3%A9%20am%20See_x4.png"
    )


@pytest.mark.parametrize(
    ("if_none_match", "status"),
    [("{tag}", 304), ("W/{tag}", 304), ('"other", {tag}', 304), ("*", 304), ('"other"', 200), ("", 200)],
)
async def test_a_known_result_is_not_sent_again(world: World, if_none_match: str, status: int) -> None:
    job_id = await succeeded(world)
    tag = (await world.client.get(f"/jobs/{job_id}/result")).headers["etag"]
    headers = {"If-None-Match": if_none_match.replace("{tag}", tag)}
    response = await world.client.get(f"/jobs/{job_id}/result", headers=headers)
    assert response.status_code == status
    assert response.headers["etag"] == tag
    assert response.content == (RESULT if status == 200 else b"")


async def test_deleting_a_waiting_job_cancels_it_and_erases_its_pictures(world: World) -> None:
    job_id = await world.accepted()
    response = await world.client.delete(f"/jobs/{job_id}")
    assert (response.status_code, response.content) == (204, b"")
    assert "content-type" not in response.headers
    assert (await world.client.get(f"/jobs/{job_id}")).json()["status"] == "canceled"
    assert (await world.client.get(f"/jobs/{job_id}/result")).status_code == 410
    assert world.blobs.keys("jobs/") == []
    assert (await world.client.delete(f"/jobs/{job_id}")).status_code == 204
    assert (await world.client.get(f"/jobs/{job_id}")).status_code == 404


async def test_deleting_an_ended_job_leaves_nothing(world: World) -> None:
    job_id = await succeeded(world)
    other = await world.accepted()
    assert (await world.client.delete(f"/jobs/{job_id}")).status_code == 204
    for response in (
        await world.client.get(f"/jobs/{job_id}"),
        await world.client.get(f"/jobs/{job_id}/result"),
        await world.client.delete(f"/jobs/{job_id}"),
    ):
        assert (response.status_code, response.json()["code"]) == (404, "job_not_found")
    assert world.blobs.keys("jobs/") == [f"jobs/{other}/input"]


@pytest.mark.parametrize(
    "job_id", ["nobody", "..%2Fx", "%00", "a:b", "*", "x" * 1000, "%F0%9F%92%A9", "a%0Ab"]
)
async def test_no_id_reaches_further_than_jobs(world: World, job_id: str) -> None:
    for response in (
        await world.client.get(f"/jobs/{job_id}"),
        await world.client.delete(f"/jobs/{job_id}"),
        await world.client.get(f"/jobs/{job_id}/result"),
    ):
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"


async def test_every_method_of_a_path_is_allowed_by_name(world: World) -> None:
    response = await world.client.put("/jobs/abc")
    assert response.status_code == 405
    assert response.headers["allow"] == "DELETE, GET"


async def test_a_job_that_ends_while_it_is_being_deleted_is_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await world.accepted()
    world.worker.start(job_id)
    monkeypatch.setattr(world.queue, "cancel", lambda job_id: world.worker.succeed(job_id, sample_result()))
    assert (await world.client.delete(f"/jobs/{job_id}")).status_code == 204
    assert (await world.client.get(f"/jobs/{job_id}")).status_code == 404


async def test_a_job_that_stands_as_before_is_not_sent_again(world: World) -> None:
    job_id = await world.accepted()
    first = await world.client.get(f"/jobs/{job_id}")
    seen = {"If-None-Match": first.headers["etag"]}
    again = await world.client.get(f"/jobs/{job_id}", headers=seen)
    assert (again.status_code, again.content) == (304, b"")
    assert (again.headers["etag"], again.headers["retry-after"]) == (first.headers["etag"], "1")
    world.worker.start(job_id)
    world.worker.report(job_id, 0.5)
    assert (await world.client.get(f"/jobs/{job_id}", headers=seen)).json()["progress"] == 0.5


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-0", range(1)),
        ("bytes=4-", range(4, 20)),
        ("bytes=-3", range(17, 20)),
        ("bytes=4-99", range(4, 20)),
    ],
)
async def test_a_part_of_a_result(world: World, asked: str, part: range) -> None:
    url = f"/jobs/{await succeeded(world)}/result"
    etag = (await world.client.get(url)).headers["etag"]
    for headers in ({"Range": asked}, {"Range": asked, "If-Range": etag}):
        response = await world.client.get(url, headers=headers)
        assert (response.status_code, response.content) == (206, RESULT[part.start : part.stop])
        assert response.headers["content-range"] == f"bytes {part.start}-{part.stop - 1}/{len(RESULT)}"
        assert response.headers["content-length"] == str(len(part))
        assert response.headers["etag"] == etag


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=0-1,4-5"},
        {"Range": "bytes=5-4"},
        {"Range": "bytes=-"},
        {"Range": "lines=1-2"},
        {"Range": "bytes=0-1", "If-Range": '"another"'},
        {"Range": "bytes=0-1", "If-Range": "Wed, 21 Oct 2015 07:28:00 GMT"},
    ],
)
async def test_what_is_no_part_gets_the_whole(world: World, headers: dict[str, str]) -> None:
    response = await world.client.get(f"/jobs/{await succeeded(world)}/result", headers=headers)
    assert (response.status_code, response.content) == (200, RESULT)
    assert response.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize("asked", ["bytes=20-", "bytes=20-30", "bytes=-0", "bytes=9999999999999999999-"])
async def test_a_part_behind_the_end(world: World, asked: str) -> None:
    response = await world.client.get(f"/jobs/{await succeeded(world)}/result", headers={"Range": asked})
    assert (response.status_code, response.json()["code"]) == (416, "range_not_satisfiable")
    assert response.headers["content-range"] == f"bytes */{len(RESULT)}"


async def test_a_result_can_be_asked_about(world: World) -> None:
    url = f"/jobs/{await succeeded(world)}/result"
    whole = await world.client.get(url)
    head = await world.client.head(url)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(RESULT)))
    assert dict(head.headers) == dict(whole.headers)


async def test_who_waits_hears_its_place_in_line(world: World) -> None:
    bulk = await world.accepted({"priority": "bulk"})
    first, second = await world.accepted(), await world.accepted()

    async def positions() -> list[int | None]:
        jobs = [(await world.client.get(f"/jobs/{job_id}")).json() for job_id in (first, second, bulk)]
        return [job["position"] for job in jobs]

    assert await positions() == [1, 2, 3]
    world.worker.start(first)
    assert await positions() == [None, 1, 2]
    await world.client.delete(f"/jobs/{second}")
    assert await positions() == [None, None, 1]


async def test_a_result_in_s3_can_be_fetched_from_there(world: World, s3_url: str) -> None:
    world = replace(world, blobs=BlobStore.from_url(s3_url))
    async with client_with(world, presigned_results=True) as client:
        response = await client.post("/upscale", files={"image": encoded("PNG")})
        job_id = response.json()["id"]
        world.worker.start(job_id)
        world.worker.succeed(job_id, sample_result())
        response = await client.get(f"/jobs/{job_id}/result")
        assert (response.status_code, response.json()["code"]) == (410, "result_erased")
        world.blobs.put(f"jobs/{job_id}/result", bytes(4800))
        response = await client.get(f"/jobs/{job_id}/result")
        assert (response.status_code, response.headers["cache-control"]) == (303, "no-store")
        found = httpx.get(response.headers["location"], trust_env=False, headers={"Range": "bytes=0-99"})
        assert (found.status_code, len(found.content)) == (206, 100)
        assert 290 <= int(httpx.URL(response.headers["location"]).params["X-Amz-Expires"]) <= 300
        assert (await client.head(f"/jobs/{job_id}/result")).status_code == 200


async def test_a_store_without_urls_gives_the_result_itself(world: World) -> None:
    async with client_with(world, presigned_results=True) as client:
        job_id = await world.accepted()
        world.worker.start(job_id)
        world.blobs.put(f"jobs/{job_id}/result", bytes(4800))
        world.worker.succeed(job_id, sample_result())
        assert (await client.get(f"/jobs/{job_id}/result")).content == bytes(4800)
