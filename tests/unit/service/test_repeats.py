"""Results by content: a picture that is sent again is answered from the store."""

from dataclasses import replace

import httpx
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from service.limits import Allowance
from service.repeats import RESULTS_PREFIX
from tests.samples import sample_result
from tests.unit.service.conftest import World, publish
from tests.unit.service.pictures import encoded
from worker.contract.blobs import BlobStoreError

pytestmark = pytest.mark.anyio

PICTURE = encoded("PNG")
MADE = replace(sample_result(), checkpoint_sha256="ab" * 32)


async def send(world: World, headers: dict[str, str] | None = None, **options: str) -> httpx.Response:
    response = await world.client.post(
        "/upscale", files={"image": ("a.png", PICTURE)}, data=options, headers=headers
    )
    assert response.status_code in (200, 202), response.text
    return response


async def made(world: World, headers: dict[str, str] | None = None, **options: str) -> str:
    """The id of a job that has a result."""
    job_id = str((await send(world, headers, **options)).json()["id"])
    world.worker.succeed(job_id, MADE)
    world.blobs.put(f"jobs/{job_id}/result", b"the result")
    return job_id


async def test_a_picture_that_was_enlarged_is_answered_at_once(world: World) -> None:
    earlier_id = await made(world)
    response = await send(world, {"Prefer": "wait=5"})
    job = response.json()
    assert (response.status_code, job["status"], job["result"]["repeated"]) == (200, "succeeded", True)
    assert job["id"] != earlier_id
    assert job["timings"]["upscale_s"] == 0.0
    assert job["result"]["sha256"] == MADE.sha256
    assert world.queue.waiting() == 0

    await world.client.delete(f"/jobs/{earlier_id}")
    assert (await world.client.get(job["result"]["url"])).content == b"the result"


async def test_without_a_wait_it_is_accepted_as_ever(world: World) -> None:
    await made(world)
    response = await send(world)
    assert (response.status_code, response.json()["status"]) == (202, "succeeded")


@pytest.mark.parametrize(
    "options",
    [{"scale": "2"}, {"format": "jpeg"}, {"ensemble": "true"}, {"quality": "50"}, {"model": "bicubic"}],
)
async def test_other_options_are_another_result(world: World, options: dict[str, str]) -> None:
    await made(world)
    if "model" in options:  # whose weights are its own
        publish(world.checkpoints, "bicubic", 4, version=2, weights_sha256="cd" * 32)
        options = {"model": "bicubic@2"}
    assert (await send(world, None, **options)).json()["status"] == "queued"


async def test_what_says_the_same_is_the_same(world: World) -> None:
    await made(world, model="espcn")
    assert (await send(world, model="espcn@1", priority="bulk")).json()["result"]["repeated"]


async def test_another_version_in_production_makes_it_anew(world: World) -> None:
    job_id = (await send(world)).json()["id"]
    world.worker.succeed(job_id, replace(MADE, checkpoint_sha256="cd" * 32))
    world.blobs.put(f"jobs/{job_id}/result", b"the result")
    assert (await send(world)).json()["status"] == "queued"


async def test_no_cache_makes_it_anew(world: World) -> None:
    await made(world)
    assert (await send(world, {"Cache-Control": "no-cache"})).json()["status"] == "queued"


async def test_callers_do_not_share_results(world: World) -> None:
    await made(world, world.key("one"))
    assert (await send(world, world.key("other"))).json()["status"] == "queued"


async def test_what_was_erased_or_waits_or_failed_is_made_anew(world: World) -> None:
    await send(world)
    assert (await send(world)).json()["status"] == "queued"
    job_id = await made(world, {"Cache-Control": "no-cache"})
    world.blobs.erase(f"jobs/{job_id}/")
    assert (await send(world)).json()["status"] == "queued"


async def test_a_repeated_result_takes_nothing_from_the_quota(world: World) -> None:
    mine = world.key("mine", Allowance(megapixels_per_day=1))
    await made(world, mine)
    before = (await send(world, mine)).headers["ratelimit"]
    assert (await send(world, mine)).headers["ratelimit"] == before


async def test_a_copy_of_what_could_not_be_recorded_is_erased(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await made(world)

    def gone(*arguments: object) -> None:
        raise BlobStoreError("gone")

    monkeypatch.setattr(world.queue, "submit_done", gone)
    response = await world.client.post("/upscale", files={"image": PICTURE})
    assert response.status_code == 503
    assert {key.split("/")[1] for key in world.blobs.keys("jobs/")} == {job_id}


async def test_a_job_that_cannot_be_remembered_is_accepted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_set = world.redis.set

    def choosy(name: str, *arguments: object, **named: object) -> object:
        if name.startswith(RESULTS_PREFIX):
            raise RedisConnectionError("gone")
        return really_set(name, *arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(world.redis, "set", choosy)
    assert (await send(world)).json()["status"] == "queued"
