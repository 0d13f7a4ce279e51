"""Many pictures in one request, and what becomes of their group."""

import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest

import service.batch
from service.limits import Allowance
from tests.samples import sample_result
from tests.unit.service.conftest import LIMITS, World, client_with
from tests.unit.service.pictures import encoded
from worker.contract.blobs import BlobStoreError
from worker.contract.jobs import JobFailure, JobStatus, Priority
from worker.contract.queue import QueueUnavailableError

pytestmark = pytest.mark.anyio

PICTURE = encoded("PNG")


async def send(
    world: World,
    pictures: Sequence[tuple[str, bytes]],
    headers: dict[str, str] | None = None,
    client: httpx.AsyncClient | None = None,
    **options: Any,
) -> httpx.Response:
    files = [("image", picture) for picture in pictures]
    client = client or world.client
    return await client.post("/upscale/batch", files=files, data=options, headers=headers)


async def accepted(world: World, *names: str, **options: Any) -> dict[str, Any]:
    response = await send(world, [(name, PICTURE) for name in names], **options)
    assert response.status_code == 202, response.text
    group: dict[str, Any] = response.json()
    return group


def job_ids(group: dict[str, Any]) -> list[str]:
    return [item["links"]["self"].rpartition("/")[2] for item in group["items"] if item["links"]]


async def test_each_picture_becomes_a_job_of_its_own(world: World) -> None:
    response = await send(world, [("a.png", PICTURE), ("b.png", PICTURE)], scale="2", model="espcn")
    assert response.status_code == 202
    group = response.json()
    assert response.headers["location"] == f"/groups/{group['id']}" == group["links"]["self"]
    assert int(response.headers["retry-after"]) > 0
    assert (group["ended"], group["progress"], group["counts"]) == (False, 0.0, {"queued": 2})
    assert group["links"]["result"] is None
    assert [item["filename"] for item in group["items"]] == ["a.png", "b.png"]
    for job_id in job_ids(group):
        record = world.queue.find(job_id)
        assert record is not None
        assert (record.job.scale, record.job.priority) == (2, Priority.BULK)


async def test_whoever_waits_may_say_so(world: World) -> None:
    group = await accepted(world, "a.png", priority="interactive")
    record = world.queue.find(job_ids(group)[0])
    assert record is not None
    assert record.job.priority is Priority.INTERACTIVE


async def test_a_bad_picture_costs_the_others_nothing(world: World) -> None:
    pictures = [("a.png", PICTURE), ("notes.txt", b"hello"), ("b.png", bytes(LIMITS.max_upload_bytes + 1))]
    group = (await send(world, pictures)).json()
    assert group["counts"] == {"queued": 1, "refused": 2}
    good, text, long = group["items"]
    assert (good["status"], good["error"]) == ("queued", None)
    assert (text["status"], text["links"], text["error"]["code"]) == (None, None, "unsupported_image")
    assert (long["error"]["code"], long["error"]["retryable"]) == ("upload_too_large", False)


async def test_where_all_are_bad_the_answer_is_what_is_wrong_with_the_first(world: World) -> None:
    response = await send(world, [("a", b"hello"), ("b", b"")])
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_image")
    assert "None of the 2 pictures" in response.json()["detail"]
    assert world.queue.waiting() == 0


async def test_beyond_the_queues_room_they_are_refused_one_by_one(world: World) -> None:
    group = await accepted(world, *"abcde")
    assert group["counts"] == {"queued": 3, "refused": 2}
    assert (group["items"][4]["error"]["code"], group["items"][4]["error"]["retryable"]) == (
        "queue_full",
        True,
    )
    response = await send(world, [("f", PICTURE)])
    assert (response.status_code, response.json()["code"]) == (503, "queue_full")


async def test_a_callers_own_limits_hold_for_each(world: World) -> None:
    key = world.key(allowance=Allowance(queued_jobs=1))
    group = await accepted(world, *"ab", headers=key)
    assert [item["error"] and item["error"]["code"] for item in group["items"]] == [None, "too_many_own_jobs"]


async def test_a_store_that_fails_is_told_where_it_failed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, calls = world.blobs.put, 0

    def failing(key: str, content: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise BlobStoreError("secret")
        put(key, content)

    monkeypatch.setattr(world.blobs, "put", failing)
    group = await accepted(world, *"abc")
    assert [item["status"] for item in group["items"]] == ["queued", None, "queued"]
    error = group["items"][1]["error"]
    assert (error["code"], error["retryable"]) == ("storage_unavailable", True)
    assert "secret" not in json.dumps(group)


@pytest.mark.parametrize("count", [0, 101])
async def test_one_to_a_hundred_are_taken(world: World, count: int) -> None:
    response = await send(world, [(f"{n}", b"x") for n in range(count)] or [], scale="2")
    assert response.status_code in (400, 422, 415)
    assert world.queue.waiting() == 0


@pytest.mark.parametrize(
    ("options", "field"),
    [({"scale": "9"}, "scale"), ({"colour": "red"}, "colour"), ({"width": "x"}, "width")],
)
async def test_an_option_is_wrong_for_all(world: World, options: dict[str, Any], field: str) -> None:
    response = await send(world, [("a", PICTURE)], **options)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == field


async def test_a_body_that_is_cut_makes_no_job(world: World) -> None:
    form = httpx.Request(
        "POST", "http://gateway.test/upscale/batch", files=[("image", ("a.png", PICTURE))] * 3
    )
    content = form.read()
    response = await world.client.post(
        "/upscale/batch", content=content[:-200], headers={"Content-Type": form.headers["content-type"]}
    )
    assert (response.status_code, response.json()["code"]) == (400, "malformed_body")
    assert world.queue.waiting() == 0


async def test_all_of_it_may_have_so_many_bytes(world: World) -> None:
    limits = replace(LIMITS, max_batch_bytes=100_000)
    async with client_with(world, limits=limits) as client:
        response = await send(world, [("a", bytes(700_000)), ("b", bytes(700_000))], client=client)
    assert (response.status_code, response.json()["max_bytes"]) == (413, 100_000)


async def test_only_a_few_are_received_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service.batch, "MOST_BATCHES", 0)
    response = await send(world, [("a", PICTURE)])
    assert (response.status_code, response.json()["code"]) == (503, "too_many_uploads")


async def test_another_body_is_refused(world: World) -> None:
    response = await world.client.post(
        "/upscale/batch", content=PICTURE, headers={"Content-Type": "image/png"}
    )
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


async def test_the_same_key_makes_one_group(world: World) -> None:
    key = {"Idempotency-Key": "mine"}
    first = await send(world, [("a", PICTURE), ("b", b"bad")], headers=key)
    again = await send(world, [("a", PICTURE), ("b", b"bad")], headers=key)
    assert again.json() == first.json()
    assert world.queue.waiting() == 1
    assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
    for other in ([("a", PICTURE)], [("a", PICTURE), ("c", b"bad")]):
        response = await send(world, other, headers=key)
        assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")
    response = await send(world, [("a", PICTURE), ("b", b"bad")], headers=key, scale="2")
    assert response.json()["code"] == "idempotency_key_reused"
    assert world.queue.waiting() == 1


async def test_sent_again_with_its_key_a_batch_gets_what_it_missed(world: World) -> None:
    key = {"Idempotency-Key": "mine"}
    pictures = [(name, PICTURE) for name in "abcd"]
    group = (await send(world, pictures, headers=key)).json()
    assert group["counts"] == {"queued": 3, "refused": 1}
    world.worker.start(job_ids(group)[0])
    again = (await send(world, pictures, headers=key)).json()
    assert again["counts"] == {"processing": 1, "queued": 3}
    assert (again["id"], job_ids(again)[:3]) == (group["id"], job_ids(group))


async def test_a_request_that_died_halfway_is_completed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = {"Idempotency-Key": "mine"}
    pictures = [("a", PICTURE), ("b", PICTURE), ("c", PICTURE)]
    submit, calls = world.queue.submit, 0

    def failing(job: Any, name: str | None = None) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise QueueUnavailableError("gone")
        submit(job, name)

    monkeypatch.setattr(world.queue, "submit", failing)
    assert (await send(world, pictures, headers=key)).status_code == 503
    assert world.queue.waiting() == 1
    group = (await send(world, pictures, headers=key)).json()
    assert group["counts"] == {"queued": 3}
    assert world.queue.waiting() == 3


async def test_a_group_tells_how_its_jobs_stand(world: World) -> None:
    group = await accepted(world, *"abc")
    first, second, third = job_ids(group)
    world.worker.start(first)
    world.worker.report(first, 0.5)
    world.worker.start(second)
    world.worker.fail(second, JobFailure("picture_damaged", "cut off", retryable=False))
    response = await world.client.get(group["links"]["self"])
    now = response.json()
    assert (now["ended"], now["counts"]) == (False, {"processing": 1, "failed": 1, "queued": 1})
    assert now["progress"] == 0.5
    assert now["items"][1]["error"]["code"] == "picture_damaged"
    assert response.headers["retry-after"] == "1"
    same = await world.client.get(group["links"]["self"], headers={"If-None-Match": response.headers["etag"]})
    assert same.status_code == 304
    world.worker.succeed(first, sample_result())
    await world.client.delete(f"/jobs/{third}")
    response = await world.client.get(group["links"]["self"])
    now = response.json()
    assert (now["ended"], now["progress"]) == (True, 1.0)
    assert now["counts"] == {"succeeded": 1, "failed": 1, "canceled": 1}
    assert now["links"]["result"] == f"{group['links']['self']}/result"
    assert "retry-after" not in response.headers


def finish(world: World, job_id: str, content: bytes) -> None:
    world.worker.start(job_id)
    world.blobs.put(f"jobs/{job_id}/result", content)
    world.worker.succeed(job_id, replace(sample_result(), size_bytes=len(content)))


async def test_the_results_come_as_one_zip(world: World) -> None:
    pictures = [("../../etc/passwd.png", PICTURE), ("bad", b"bad"), ("a.png", PICTURE), ("a.png", PICTURE)]
    group = (await send(world, pictures, scale="2")).json()
    url = f"{group['links']['self']}/result"
    response = await world.client.get(url)
    assert (response.status_code, response.json()["code"]) == (409, "group_not_finished")
    for number, job_id in enumerate(job_ids(group)):
        finish(world, job_id, f"result {number}".encode())
    response = await world.client.get(url)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/zip"
    assert int(response.headers["content-length"]) == len(response.content)
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.namelist() == ["passwd_x2.png", "a_x2.png", "a_x2-2.png", "errors.json"]
        assert archive.read("a_x2-2.png") == b"result 2"
        (told,) = json.loads(archive.read("errors.json"))
        assert (told["index"], told["filename"], told["code"]) == (1, "bad", "unsupported_image")


async def test_results_that_are_gone_are_said_to_be(world: World) -> None:
    group = await accepted(world, *"ab")
    first, second = job_ids(group)
    finish(world, first, b"result")
    finish(world, second, b"result")
    await world.client.delete(f"/jobs/{first}")
    now = (await world.client.get(group["links"]["self"])).json()
    assert now["counts"] == {"gone": 1, "succeeded": 1}
    assert now["items"][0]["error"]["code"] == "result_erased"
    response = await world.client.get(f"{group['links']['self']}/result")
    archive = zipfile.ZipFile(io.BytesIO(response.content))
    assert archive.namelist() == ["b_x4.png", "errors.json"]
    await world.client.delete(f"/jobs/{second}")
    response = await world.client.get(f"{group['links']['self']}/result")
    assert (response.status_code, response.json()["code"]) == (410, "result_erased")


async def test_deleting_a_group_deletes_its_jobs(world: World) -> None:
    group = await accepted(world, *"abc")
    running, ended, waiting = job_ids(group)
    world.worker.start(running)
    finish(world, ended, b"result")
    response = await world.client.delete(group["links"]["self"])
    assert response.status_code == 204
    assert (await world.client.get(group["links"]["self"])).status_code == 404
    assert world.queue.find(ended) is None
    for job_id in (running, waiting):
        record = world.queue.find(job_id)
        assert record is not None
        assert record.status is JobStatus.CANCELED
    assert world.blobs.keys("jobs/") == []


async def test_a_group_is_its_callers_own(world: World) -> None:
    mine, others_key = world.key("mine"), world.key("other")
    group = await accepted(world, "a", headers=mine)
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/result")):
        response = await world.client.request(method, group["links"]["self"] + path, headers=others_key)
        assert (response.status_code, response.json()["code"]) == (404, "group_not_found")
        assert (await world.client.request(method, group["links"]["self"] + path)).status_code == 401
    assert (await world.client.get(group["links"]["self"], headers=mine)).status_code == 200
