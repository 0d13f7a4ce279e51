"""A gateway of several processes is one to whoever asks, and to whoever stops it."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.chaos.gateway_process import running_gateway
from tests.eventually import eventually
from tests.stack import RunningStack
from tests.unit.service.pictures import encoded

PROCESSES = 2
REQUESTS = 40


@pytest.fixture
def gateway(tmp_path: Path, valkey_url: str) -> Iterator[RunningStack]:
    blobs_url = (tmp_path / "blobs").as_uri()
    settings = {"ENLARGER_GATEWAY_PROCESSES": str(PROCESSES), "ENLARGER_LOG_FORMAT": "json"}
    with running_gateway(valkey_url, blobs_url, tmp_path / "gateway.log", settings) as gateway:
        eventually(lambda: gateway.log.count("Application startup complete") == PROCESSES)
        yield gateway


def servers(gateway: RunningStack) -> set[int]:
    """The processes that serve; not multiprocessing's own helper."""
    pids = Path(f"/proc/{gateway.process.pid}/task/{gateway.process.pid}/children").read_text().split()
    return {int(pid) for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()}


def ask(gateway: RunningStack, path: str) -> httpx.Response:
    """Over a connection of its own, which any of the processes may take."""
    return httpx.get(f"{gateway.client.base_url}{path}")


def counted(gateway: RunningStack) -> float:
    """Requests to /jobs, by the metrics."""
    sample = 'enlarger_http_requests_total{method="GET",route="/jobs",status="2xx"} '
    page = ask(gateway, "/metrics").text
    return sum(float(line.removeprefix(sample)) for line in page.splitlines() if line.startswith(sample))


def test_they_count_together_and_share_the_jobs(gateway: RunningStack) -> None:
    made = gateway.client.post("/upscale", files={"image": encoded("PNG")}).json()["id"]
    for _ in range(REQUESTS):
        assert [job["id"] for job in ask(gateway, "/jobs").json()["jobs"]] == [made]
    for _ in range(10):  # whichever answers
        assert counted(gateway) == REQUESTS
    assert "enlarger_queue_waiting_jobs" in ask(gateway, "/metrics").text
    assert all(line.startswith("{") for line in gateway.log.splitlines())


def test_one_that_is_killed_is_replaced_and_what_it_counted_stays(gateway: RunningStack) -> None:
    for _ in range(REQUESTS):
        ask(gateway, "/jobs")
    before = servers(gateway)
    assert len(before) == PROCESSES
    os.kill(min(before), signal.SIGKILL)
    eventually(lambda: len(servers(gateway) | before) == PROCESSES + 1)
    eventually(lambda: gateway.log.count("Application startup complete") == PROCESSES + 1)
    assert ask(gateway, "/jobs").status_code == 200
    assert counted(gateway) == REQUESTS + 1


def test_sigterm_ends_them_all(gateway: RunningStack) -> None:
    pids = servers(gateway)
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(20) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_they_end_with_the_one_that_started_them(gateway: RunningStack) -> None:
    pids = servers(gateway)
    gateway.process.kill()
    eventually(lambda: not any(running(pid) for pid in pids))


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
