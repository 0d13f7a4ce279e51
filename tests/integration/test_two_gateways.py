"""Two gateways over one Redis and one store behave as one."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from service.keys import KeyStore
from service.limits import Allowance
from tests.chaos.gateway_process import running_gateway
from tests.hand_cranked_worker import HandCrankedWorker
from tests.samples import sample_result
from tests.stack import RunningStack
from tests.unit.service.pictures import encoded

PICTURE = encoded("PNG")

Pair = tuple[RunningStack, RunningStack]


@pytest.fixture
def gateways(tmp_path: Path, valkey_url: str) -> Iterator[Pair]:
    blobs_url = (tmp_path / "blobs").as_uri()
    with (
        running_gateway(valkey_url, blobs_url, tmp_path / "one.log") as one,
        running_gateway(valkey_url, blobs_url, tmp_path / "other.log") as other,
    ):
        yield one, other


@pytest.fixture
def worker(valkey: Redis) -> Iterator[HandCrankedWorker]:
    worker = HandCrankedWorker(valkey)
    yield worker
    worker.close()


def send(gateway: RunningStack, headers: dict[str, str]) -> dict[str, str]:
    response = gateway.client.post("/upscale", files={"image": PICTURE}, headers=headers)
    assert response.status_code == 202, response.text
    return {**response.headers, "id": response.json()["id"]}


def test_a_job_of_one_is_a_job_of_the_other(gateways: Pair, worker: HandCrankedWorker) -> None:
    one, other = gateways
    key = {"Idempotency-Key": "mine"}
    job_id = send(one, key)["id"]
    again = send(other, key)
    assert (again["id"], again["idempotency-replayed"]) == (job_id, "true")
    assert [job["id"] for job in other.client.get("/jobs").json()["jobs"]] == [job_id]

    statuses: list[str] = []

    def listen() -> None:
        with other.client.stream("GET", f"/jobs/{job_id}/events") as events:
            for line in events.iter_lines():
                if line.startswith("data: "):
                    statuses.append(json.loads(line.removeprefix("data: "))["status"])

    listener = threading.Thread(target=listen)
    listener.start()
    worker.succeed(job_id, sample_result())
    listener.join(20)
    assert statuses[-1] == "succeeded"

    etag = one.client.get(f"/jobs/{job_id}").headers["etag"]
    assert other.client.get(f"/jobs/{job_id}", headers={"If-None-Match": etag}).status_code == 304
    assert other.client.delete(f"/jobs/{job_id}").status_code == 204
    assert one.client.get(f"/jobs/{job_id}").status_code == 404


def test_quotas_are_counted_together(gateways: Pair, valkey: Redis) -> None:
    one, other = gateways
    key = {"X-API-Key": KeyStore(valkey).create("a caller", Allowance(queued_jobs=2))}
    send(one, key)
    send(other, key)
    for gateway in gateways:
        response = gateway.client.post("/upscale", files={"image": PICTURE}, headers=key)
        assert (response.status_code, response.json()["code"]) == (429, "too_many_own_jobs")
