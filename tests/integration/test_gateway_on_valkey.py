"""The gateway as its settings build it, on a real Valkey and a folder of blobs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from redis import Redis
from rq import Queue
from rq.job import Job

from service.app import create_app
from tests.unit.service.conftest import publish
from tests.unit.service.pictures import encoded
from tests.valkey import running_valkey
from worker.contract.queue import QUEUE_NAME

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings without a Redis; gives the folder of the blobs."""
    blobs = tmp_path / "blobs"
    publish(tmp_path / "checkpoints", "espcn", 4)
    monkeypatch.setenv("ENLARGER_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("ENLARGER_BLOBS_URL", blobs.as_uri())
    monkeypatch.setenv("ENLARGER_MAX_QUEUED_JOBS", "20")
    return blobs


@pytest.fixture
async def client(
    environment: Path, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    monkeypatch.setenv("ENLARGER_REDIS_URL", valkey_url)
    async with new_client() as client:
        yield client


def new_client() -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(create_app()), base_url="http://gateway.test")


def stored(blobs: Path) -> list[str]:
    return [path.relative_to(blobs).as_posix() for path in blobs.rglob("*") if path.is_file()]


async def submit(client: httpx.AsyncClient, picture: bytes | None = None) -> str:
    response = await client.post("/upscale", files={"image": ("photo.png", picture or encoded("PNG"))})
    assert response.status_code == 202, response.text
    return str(response.json()["id"])


async def test_an_accepted_job_is_an_rq_job_with_its_picture_stored(
    client: httpx.AsyncClient, environment: Path, valkey: Redis
) -> None:
    # Larger than what stays in memory while it is received.
    picture = encoded("PNG", 800, 800)
    assert len(picture) > 1 << 20
    job_id = await submit(client, picture)
    assert Queue(QUEUE_NAME, connection=valkey).get_job_ids() == [job_id]
    assert (environment / "jobs" / job_id / "input").read_bytes() == picture
    job = (await client.get(f"/jobs/{job_id}")).json()
    assert (job["status"], job["input"]["width"], job["started_at"]) == ("queued", 800, None)


async def test_many_clients_at_once_until_the_queue_is_full(client: httpx.AsyncClient, valkey: Redis) -> None:
    ids = await asyncio.gather(*(submit(client) for _ in range(20)))
    assert sorted(Queue(QUEUE_NAME, connection=valkey).get_job_ids()) == sorted(ids)
    response = await client.post("/upscale", files={"image": encoded("PNG")})
    assert (response.status_code, response.json()["code"]) == (503, "queue_full")


async def test_a_deleted_job_leaves_the_queue_and_then_redis(
    client: httpx.AsyncClient, environment: Path, valkey: Redis
) -> None:
    job_id = await submit(client)
    assert (await client.delete(f"/jobs/{job_id}")).status_code == 204
    assert Queue(QUEUE_NAME, connection=valkey).get_job_ids() == []
    assert stored(environment) == []
    assert (await client.get(f"/jobs/{job_id}")).json()["status"] == "canceled"
    assert (await client.delete(f"/jobs/{job_id}")).status_code == 204
    assert (await client.get(f"/jobs/{job_id}")).status_code == 404
    assert not Job.exists(job_id, connection=valkey)


async def test_not_ready_before_a_worker_lives(client: httpx.AsyncClient) -> None:
    response = await client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["detail"] == "workers: no live workers"


async def test_without_redis_every_route_says_so(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_valkey() as url:
        monkeypatch.setenv("ENLARGER_REDIS_URL", url)
        client = new_client()
        job_id = await submit(client)
    try:
        for response in (
            await client.post("/upscale", files={"image": encoded("PNG")}),
            await client.get(f"/jobs/{job_id}"),
            await client.get(f"/jobs/{job_id}/result"),
            await client.delete(f"/jobs/{job_id}"),
        ):
            assert (response.status_code, response.json()["code"]) == (503, "queue_unavailable")
            assert response.headers["retry-after"]
            assert response.headers["content-type"] == "application/problem+json"
        ready = await client.get("/readyz")
        assert [check["ok"] for check in ready.json()["checks"]] == [False, True, False, True]
        assert (await client.get("/healthz")).status_code == 200
        assert stored(environment) == [f"jobs/{job_id}/input"]
    finally:
        await client.aclose()
