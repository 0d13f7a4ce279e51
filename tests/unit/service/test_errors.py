"""Every code of the table is provoked as a client would meet it, and documented."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import anyio
import httpx
import pytest

from service.errors import ERROR_KINDS, ErrorKind, markdown_table
from service.image_urls import ImageUrls
from service.limits import Allowance
from service.schemas import Problem
from tests.courier_thread import WEBHOOKS
from tests.samples import sample_result
from tests.unit.service.conftest import LIMITS, World, client_with
from tests.unit.service.pictures import animated, encoded, flat_png
from tests.unit.service.slow_uploads import slow_upload, trickling
from worker.contract.blobs import BlobMissingError, BlobStoreError
from worker.contract.queue import WORKER_LOST, QueueUnavailableError
from worker.errors import CanceledError, JobError

pytestmark = pytest.mark.anyio

PICTURE = encoded("PNG")
DOCUMENT = Path(__file__).parents[3] / "docs" / "errors.md"


async def queue_full(world: World) -> httpx.Response:
    for _ in range(LIMITS.max_queued_jobs):
        await world.accepted()
    return await world.post()


async def queue_unavailable(world: World) -> httpx.Response:
    def waiting() -> int:
        raise QueueUnavailableError("redis.internal:6379 refused the connection")

    world.queue.waiting = waiting  # type: ignore[method-assign]
    return await world.post()


async def storage_unavailable(world: World) -> httpx.Response:
    def put(key: str, content: object) -> None:
        raise BlobStoreError("bucket secret-bucket: access denied")

    world.blobs.put = put  # type: ignore[assignment,method-assign]
    return await world.post()


async def models_unavailable(world: World) -> httpx.Response:
    next(world.checkpoints.glob("*/*/manifest.json")).write_text("{")
    return await world.client.get("/models")


async def result_erased(world: World) -> httpx.Response:
    job_id = await world.accepted()
    world.worker.succeed(job_id, sample_result())
    with pytest.raises(BlobMissingError):
        world.blobs.get(f"jobs/{job_id}/result")
    return await world.client.get(f"/jobs/{job_id}/result")


async def range_not_satisfiable(world: World) -> httpx.Response:
    job_id = await world.accepted()
    world.worker.succeed(job_id, sample_result())
    url = f"/jobs/{job_id}/result"
    return await world.client.get(url, headers={"Range": "bytes=99999999-"})


async def too_many_streams(world: World) -> httpx.Response:
    job_id = await world.accepted()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("service.events.MOST_STREAMS", 0)
        return await world.client.get(f"/jobs/{job_id}/events")


async def job_not_finished(world: World) -> httpx.Response:
    return await world.client.get(f"/jobs/{await world.accepted()}/result")


async def group_not_finished(world: World) -> httpx.Response:
    made = await world.client.post("/upscale/batch", files={"image": PICTURE})
    return await world.client.get(f"{made.headers['location']}/result")


async def with_image_url(world: World, url: str) -> httpx.Response:
    async with client_with(world, image_urls=ImageUrls(enabled=True)) as client:
        return await client.post("/upscale", json={"image_url": url})


async def not_ready(world: World) -> httpx.Response:
    world.fleet.names = ()
    return await world.client.get("/readyz")


async def with_idempotency_key(world: World, scale: str) -> httpx.Response:
    return await world.client.post(
        "/upscale",
        files={"image": PICTURE},
        data={"scale": scale},
        headers={"Idempotency-Key": "mine"},
    )


async def idempotency_key_reused(world: World) -> httpx.Response:
    await with_idempotency_key(world, "2")
    return await with_idempotency_key(world, "3")


async def request_in_progress(world: World) -> httpx.Response:
    made = await with_idempotency_key(world, "2")
    await world.client.delete(f"/jobs/{made.json()['id']}")
    await world.client.delete(f"/jobs/{made.json()['id']}")
    return await with_idempotency_key(world, "2")


async def api_key_missing(world: World) -> httpx.Response:
    world.key()
    return await world.client.get("/models")


async def api_key_invalid(world: World) -> httpx.Response:
    return await world.client.get("/models", headers={"X-API-Key": "enl_secret"})


async def too_many_requests(world: World) -> httpx.Response:
    world.client.headers.update(world.key(allowance=Allowance(requests_per_minute=1)))
    await world.client.get("/models")
    return await world.client.get("/models")


async def too_many_own_jobs(world: World) -> httpx.Response:
    world.client.headers.update(world.key(allowance=Allowance(queued_jobs=1)))
    await world.accepted()
    return await world.post()


async def pixel_quota_used_up(world: World) -> httpx.Response:
    world.client.headers.update(world.key(allowance=Allowance(megapixels_per_day=1)))
    return await world.post({"ensemble": "true", "scale": "2"}, flat_png(400, 400))


async def upload_timed_out(world: World) -> httpx.Response:
    async def stalled() -> AsyncIterator[bytes]:
        yield b"\x89PNG"
        await anyio.sleep(30)

    return await world.client.post("/upscale", content=stalled(), headers={"Content-Type": "image/png"})


async def upload_too_slow(world: World) -> httpx.Response:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("service.uploads.SLOW_START_S", 0.05)
        return await world.client.post("/upscale", content=trickling(), headers={"Content-Type": "image/png"})


async def too_many_uploads(world: World) -> httpx.Response:
    async with client_with(world, limits=replace(LIMITS, max_uploads=1)) as client, slow_upload(client):
        return await client.post("/upscale", files={"image": PICTURE})


async def webhook_url_refused(world: World) -> httpx.Response:
    async with client_with(world, WEBHOOKS) as client:
        files, options = {"image": encoded("PNG")}, {"webhook_url": "http://10.0.0.1/secret"}
        return await client.post("/upscale", files=files, data=options)


async def internal_error(world: World) -> httpx.Response:
    def find(job_id: str) -> None:
        raise RuntimeError("a bug of ours, with secrets")

    world.queue.find = find  # type: ignore[method-assign]
    transport = httpx.ASGITransport(world.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
        return await client.get("/jobs/a")


PROVOCATIONS: dict[str, Callable[[World], Awaitable[httpx.Response]]] = {
    "invalid_request": lambda world: world.post({"scale": "7"}),
    "malformed_body": lambda world: world.client.post(
        "/upscale", content=b"--b", headers={"Content-Type": "multipart/form-data; boundary=b"}
    ),
    "unsupported_media_type": lambda world: world.client.post(
        "/upscale", content="a photo", headers={"Content-Type": "text/plain"}
    ),
    "empty_image": lambda world: world.post(picture=b""),
    "unsupported_image": lambda world: world.post(picture=b"hello", filename="photo.jpg"),
    "image_truncated": lambda world: world.post(picture=encoded("JPEG")[:-100]),
    "image_damaged": lambda world: world.post(picture=encoded("PNG").replace(b"IHDR", b"IHDX")),
    "picture_animated": lambda world: world.post(picture=animated("WEBP")),
    "upload_too_large": lambda world: world.post(picture=bytes(LIMITS.max_upload_bytes + 1)),
    "too_many_pixels": lambda world: world.post(picture=flat_png(1001, 1000)),
    "result_too_large": lambda world: world.post(picture=encoded("WEBP", 5000, 4)),
    "upload_timed_out": upload_timed_out,
    "upload_too_slow": upload_too_slow,
    "too_many_uploads": too_many_uploads,
    "unknown_model": lambda world: world.post({"model": "nope"}),
    "scale_not_available": lambda world: world.post({"model": "srgan", "scale": "2"}),
    "api_key_missing": api_key_missing,
    "api_key_invalid": api_key_invalid,
    "too_many_requests": too_many_requests,
    "too_many_own_jobs": too_many_own_jobs,
    "pixel_quota_used_up": pixel_quota_used_up,
    "idempotency_key_reused": idempotency_key_reused,
    "request_in_progress": request_in_progress,
    "webhooks_off": lambda world: world.post({"webhook_url": "https://example.org/secret"}),
    "webhook_url_refused": webhook_url_refused,
    "image_urls_off": lambda world: world.client.post(
        "/upscale", json={"image_url": "https://example.org/a.png"}
    ),
    "image_url_refused": lambda world: with_image_url(world, "ftp://example.org/a.png"),
    "image_url_failed": lambda world: with_image_url(world, "http://127.0.0.1/a.png"),
    "not_found": lambda world: world.client.get("/nothing"),
    "method_not_allowed": lambda world: world.client.put("/upscale"),
    "job_not_found": lambda world: world.client.get("/jobs/nobody"),
    "job_not_finished": job_not_finished,
    "result_erased": result_erased,
    "group_not_found": lambda world: world.client.get("/groups/nobody"),
    "group_not_finished": group_not_finished,
    "range_not_satisfiable": range_not_satisfiable,
    "too_many_streams": too_many_streams,
    "queue_full": queue_full,
    "queue_unavailable": queue_unavailable,
    "storage_unavailable": storage_unavailable,
    "models_unavailable": models_unavailable,
    "not_ready": not_ready,
    "internal_error": internal_error,
}


@pytest.mark.parametrize("kind", ERROR_KINDS, ids=lambda kind: kind.code)
async def test_every_error_is_a_problem_with_its_code(world: World, kind: ErrorKind) -> None:
    response = await PROVOCATIONS[kind.code](world)
    assert response.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate(response.json())
    assert (problem.code, problem.status, response.status_code) == (kind.code, kind.status, kind.status)
    assert problem.title == kind.title
    assert problem.type == f"urn:enlarger:error:{kind.code}"
    assert problem.instance == response.url.path
    assert ("retry-after" in response.headers) == (kind.retry_after_s is not None)
    assert "secret" not in response.text
    assert "internal:6379" not in response.text


async def test_a_refused_job_leaves_no_picture_behind(world: World) -> None:
    def submit(job: object, name: str | None = None) -> None:
        raise QueueUnavailableError("gone")

    world.queue.submit = submit  # type: ignore[method-assign]
    response = await world.post()
    assert response.json()["code"] == "queue_unavailable"
    assert world.blobs.keys("jobs/") == []


def test_codes_are_unique() -> None:
    assert len({kind.code for kind in ERROR_KINDS}) == len(ERROR_KINDS)


def test_the_document_shows_the_table() -> None:
    assert markdown_table() in DOCUMENT.read_text("utf-8"), (
        "docs/errors.md is out of date: paste what this prints: "
        "python -c 'from service.errors import markdown_table; print(markdown_table())'"
    )


def test_the_document_lists_what_a_job_can_fail_with() -> None:
    codes = {error.code for error in _subclasses(JobError)} - {CanceledError.code} | {
        JobError.code,
        WORKER_LOST.code,
    }
    text = DOCUMENT.read_text("utf-8")
    assert [
        code for code in sorted(codes) if f"| `{code}` |" not in text.partition("## When a job fails")[2]
    ] == []


def _subclasses(error: type[JobError]) -> set[type[JobError]]:
    return {error}.union(*(_subclasses(subclass) for subclass in error.__subclasses__()))
