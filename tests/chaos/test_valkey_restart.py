"""Valkey killed and started again with its append-only file: refusals meanwhile, and no accepted job is lost.

`appendfsync everysec` leaves a write with the kernel before it is acknowledged, so that killing the server's process loses
nothing. That its machine dies, which would cost the last second's jobs, cannot be shown here.
"""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.chaos.gateway_process import running_gateway
from tests.chaos.restartable_valkey import restartable_valkey
from tests.chaos.scale import SCALE, SEED, SHORT
from tests.chaos.site import Site
from tests.eventually import eventually
from tests.stack import RunningStack
from worker.contract.jobs import JobStatus

DOWN_S = 1.5
"""How long the server is away at least."""


class Client(threading.Thread):
    """Sends pictures without a pause until it is told to stop, and keeps what it was answered."""

    def __init__(self, gateway: RunningStack, *pictures: bytes) -> None:
        super().__init__(name="client", daemon=True)
        self._http = httpx.Client(base_url=gateway.client.base_url, timeout=60.0, trust_env=False)
        self._pictures = pictures
        self._stopped = threading.Event()
        self.accepted: list[str] = []
        self.refusals: list[httpx.Response] = []
        self.paused = threading.Event()

    def run(self) -> None:
        """Send."""
        number = 0
        while not self._stopped.wait(0.05):
            if self.paused.is_set():
                continue
            answer = self._http.post(
                "/upscale",
                files={"image": ("picture", self._pictures[number % len(self._pictures)])},
                data={"model": "espcn", "scale": 4},
            )
            number += 1
            if answer.status_code == 202:
                self.accepted.append(answer.json()["id"])
            else:
                self.refusals.append(answer)

    def stop(self) -> None:
        """End after the request under way."""
        self._stopped.set()
        self.join()
        self._http.close()


@contextmanager
def sending(client: Client) -> Iterator[Client]:
    """The client at work."""
    client.start()
    try:
        yield client
    finally:
        client.stop()


@pytest.mark.parametrize("load", ["busy", "trickle", "idle"])
def test_no_accepted_job_is_lost(
    load: str, tmp_path: Path, small_picture: bytes, large_picture: bytes
) -> None:
    if load == "trickle" and SCALE is SHORT:
        pytest.skip("only in the full form: it takes many kills to hit a worker between idle and busy")
    print(f"ENLARGER_CHAOS_SEED={SEED}")
    chance = random.Random(SEED)
    with restartable_valkey() as valkey:
        site = Site(valkey.url, (tmp_path / "blobs").as_uri(), tmp_path)
        with (
            running_gateway(site.redis_url, site.blobs_url, tmp_path / "gateway.log") as gateway,
            site.worker() as worker,
            site.ledger() as ledger,
        ):
            worker.start_and_wait()
            pid = worker.pid
            with sending(
                Client(gateway, small_picture, *([large_picture] if load == "busy" else []))
            ) as client:
                for number in range(1, SCALE.restarts + 1):
                    accepted = len(client.accepted) + 4
                    eventually(lambda n=accepted: len(client.accepted) >= n, 60.0, "jobs are accepted")  # type: ignore[misc]
                    if load == "idle":
                        client.paused.set()
                        eventually(lambda: _all_ended(site, client.accepted), 60.0, "the worker is idle")
                    time.sleep(chance.uniform(0.0, 0.5))
                    valkey.kill()
                    client.paused.clear()
                    asked_at_s = time.monotonic()
                    refused = len(client.refusals)
                    eventually(lambda n=refused: len(client.refusals) > n, 30.0, "the gateway refuses")  # type: ignore[misc]
                    eventually(lambda since_s=asked_at_s: time.monotonic() > since_s + DOWN_S)  # type: ignore[misc]
                    assert_unavailable(gateway.client.get(f"/jobs/{client.accepted[0]}"))
                    assert_unavailable(gateway.client.get(f"/jobs/{client.accepted[0]}/result"))
                    assert gateway.client.get("/readyz").json()["code"] == "not_ready"
                    assert gateway.client.get("/healthz").status_code == 200
                    assert worker.running, f"the worker ended in outage {number}:\n{worker.log}"
                    valkey.start()
                    accepted = len(client.accepted) + 2
                    eventually(lambda n=accepted: len(client.accepted) >= n, 60.0, "jobs are accepted again")  # type: ignore[misc]
            for job_id in client.accepted:
                ledger.add(job_id)
            ledger.wait_until_ended()
            for answer in client.refusals:
                assert_unavailable(answer)
            assert ledger.counts() == {JobStatus.SUCCEEDED: len(client.accepted)}
            assert max(map(site.starts, client.accepted)) <= 1 + SCALE.restarts
            for record in ledger.finals.values():
                site.assert_result_whole(record)
            assert (worker.running, worker.pid) == (True, pid)
            gateway.wait_until_ready()
            worker.ask_to_stop()
            assert worker.wait() == 0


def assert_unavailable(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert answer.json()["code"] == "queue_unavailable"
    assert int(answer.headers["retry-after"]) > 0


def _all_ended(site: Site, job_ids: list[str]) -> bool:
    return all(site.record(job_id).status.final for job_id in list(job_ids))
