import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Response
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq.job import Job
from rq.utils import utcformat

from service.metrics import GatewayMetrics, RequestCounter, metrics_router
from tests.metrics_page import documented, exported
from tests.samples import SettableFleet, sample_job, sample_result
from tests.stack import free_port
from tests.unit.service.conftest import World
from tests.unit.service.pictures import encoded
from worker.contract.fleet import Fleet, RqFleet
from worker.contract.jobs import Priority
from worker.contract.queue import JobQueue, QueueUnavailableError

pytestmark = pytest.mark.anyio


@pytest.fixture
def metered(world: World) -> World:
    """The gateway with its metrics."""
    if "/metrics" not in world.app.openapi()["paths"]:
        wire(world.app, GatewayMetrics(world.queue, world.fleet))
    return world


def wire(app: FastAPI, metrics: GatewayMetrics) -> None:
    app.include_router(metrics_router(metrics))
    app.add_middleware(RequestCounter, metrics=metrics)


def client_of(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway.test")


async def scrape(client: httpx.AsyncClient) -> dict[tuple[str, frozenset[str]], float]:
    """Every sample's value by its name and its labels' values."""
    response = await client.get("/metrics")
    assert response.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


async def scrape_of(queue: JobQueue, fleet: Fleet) -> dict[tuple[str, frozenset[str]], float]:
    app = FastAPI()
    wire(app, GatewayMetrics(queue, fleet))
    async with client_of(app) as client:
        return await scrape(client)


def at(name: str, *labels: str) -> tuple[str, frozenset[str]]:
    return f"enlarger_{name}", frozenset(labels)


async def test_the_queue_is_told_as_it_stands(metered: World) -> None:
    queue, now_s = metered.queue, time.time()
    for job_id, priority, age_s in [
        ("a", Priority.BULK, 500.0),
        ("b", Priority.BULK, 300.0),
        ("c", Priority.INTERACTIVE, 40.0),
        ("d", Priority.INTERACTIVE, 2.0),
    ]:
        queue.submit(replace(sample_job(job_id), priority=priority))
        enqueued_at = datetime.fromtimestamp(now_s - age_s, UTC)
        metered.redis.hset(Job.key_for(job_id), "enqueued_at", utcformat(enqueued_at))
    metered.worker.start("c")
    metered.worker.succeed("d", sample_result())
    metered.fleet.names = ("one", "two")
    told = await scrape(metered.client)
    assert told[at("queue_up")] == 1
    assert told[at("queue_waiting_jobs", "bulk")] == 2
    assert told[at("queue_waiting_jobs", "interactive")] == 0
    assert told[at("queue_waiting_pixels")] == 2 * 40 * 30
    assert told[at("queue_oldest_seconds", "bulk")] == pytest.approx(500.0, abs=60.0)
    assert told[at("queue_oldest_seconds", "interactive")] == 0
    assert told[at("queue_processing_jobs")] == 1
    assert told[at("live_workers")] == 2


async def test_a_scrape_succeeds_without_redis() -> None:
    redis = Redis(host="127.0.0.1", port=free_port(), retry=Retry(NoBackoff(), 0))
    told = await scrape_of(JobQueue(redis, job_timeout_s=60, retention_s=60), RqFleet(redis))
    assert told[at("queue_up")] == 0
    absent = ("queue_waiting_jobs", "queue_oldest_seconds", "queue_processing_jobs", "live_workers")
    assert not [name for name, _ in told if name.removeprefix("enlarger_") in absent]
    assert ("process_resident_memory_bytes", frozenset()) in told


async def test_or_where_redis_goes_between_two_questions(valkey: Redis) -> None:
    class LostFleet(SettableFleet):
        def live_workers(self) -> Any:
            raise QueueUnavailableError("gone")

    told = await scrape_of(JobQueue(valkey, job_timeout_s=60, retention_s=60), LostFleet())
    assert told[at("queue_up")] == 0
    assert at("queue_processing_jobs") not in told


async def test_requests_are_counted_by_the_routes_template(metered: World) -> None:
    client = metered.client
    path = f"/jobs/{await metered.accepted()}"
    await client.get(path)
    await client.get(path)
    await client.get("/jobs/nobody")
    await client.get("/no/such/path")
    await client.get("/no/such/path/either")
    await client.get("/docs/assets/swagger-ui.css")
    await client.put("/upscale")
    await client.request("BREW", "/upscale")
    told = await scrape(client)
    requests = {
        labels: value for (name, labels), value in told.items() if name == at("http_requests_total")[0]
    }
    assert requests == {
        frozenset({"POST", "/upscale", "2xx"}): 1,
        frozenset({"GET", "/jobs/{job_id}", "2xx"}): 2,
        frozenset({"GET", "/jobs/{job_id}", "4xx"}): 1,
        frozenset({"GET", "other", "4xx"}): 2,
        frozenset({"GET", "other", "2xx"}): 1,
        frozenset({"PUT", "/upscale", "4xx"}): 1,
        frozenset({"other", "/upscale", "4xx"}): 1,
    }
    assert told[at("http_request_seconds_count", "GET", "/jobs/{job_id}")] == 3
    assert (await scrape(client))[at("http_requests_total", "GET", "/metrics", "2xx")] == 1


async def test_a_fault_of_ours_is_counted(metered: World) -> None:
    def find(job_id: str) -> None:
        raise RuntimeError("a bug of ours")

    metered.queue.find = find  # type: ignore[method-assign]
    async with client_of(metered.app) as client:
        assert (await client.get("/jobs/a")).status_code == 500
    told = await scrape(metered.client)
    assert told[at("http_requests_total", "GET", "/jobs/{job_id}", "5xx")] == 1


async def test_uploads_are_counted_in_bytes(metered: World) -> None:
    picture = encoded("PNG")
    for _ in range(2):
        sent = await metered.client.post("/upscale", content=picture, headers={"Content-Type": "image/png"})
        assert sent.status_code == 202
    told = await scrape(metered.client)
    assert told[at("http_upload_bytes_total", "/upscale")] == 2 * len(picture)
    assert [name for name, _ in told].count("enlarger_http_upload_bytes_total") == 1


async def test_the_time_of_the_answers_body_counts(valkey: Redis) -> None:
    app = FastAPI()
    wire(app, GatewayMetrics(JobQueue(valkey, job_timeout_s=60, retention_s=60), SettableFleet()))

    class Slow(Response):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await super().__call__(scope, receive, send)
            time.sleep(0.02)

    @app.get("/slow")
    async def slow() -> Response:
        return Slow(b"")

    async with client_of(app) as client:
        await client.get("/slow")
        told = await scrape(client)
    assert told[at("http_request_seconds_sum", "GET", "/slow")] >= 0.02


async def test_openmetrics_where_it_is_asked_for(metered: World) -> None:
    await metered.client.get("/healthz")
    accept = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5"
    response = await metered.client.get("/metrics", headers={"Accept": accept})
    assert response.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = openmetrics_families(response.text)  # type: ignore[no-untyped-call]
    assert "enlarger_http_requests" in {family.name for family in families}
    plain = await metered.client.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")


async def test_the_global_registry_is_left_alone(metered: World) -> None:
    await metered.client.get("/metrics")
    assert not [family.name for family in REGISTRY.collect() if family.name.startswith("enlarger")]


async def test_the_page_shows_what_the_gateway_shows(metered: World) -> None:
    await metered.accepted()
    response = await metered.client.get("/metrics")
    assert exported(response.text) == documented("Gateway", "Both")
