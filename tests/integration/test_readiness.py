"""The gateway says what is gone, and that it is back, without anybody's help."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.chaos.gateway_process import running_gateway
from tests.chaos.restartable_valkey import RestartableValkey, restartable_valkey
from tests.chaos.worker_process import WorkerProcess
from tests.eventually import eventually
from tests.stack import RunningStack, free_port

BUCKET = "pictures"


@pytest.fixture
def valkey_process() -> Iterator[RestartableValkey]:
    with restartable_valkey() as valkey:
        yield valkey


@contextmanager
def running_service(
    valkey: RestartableValkey, blobs_url: str, folder: Path
) -> Iterator[tuple[RunningStack, WorkerProcess]]:
    """A gateway and a worker that are ready."""
    with (
        running_gateway(valkey.url, blobs_url, folder / "gateway.log") as gateway,
        WorkerProcess(valkey.url, folder / "worker.log", {"ENLARGER_BLOBS_URL": blobs_url}) as worker,
    ):
        worker.start()
        becomes(gateway, None)
        yield gateway, worker


def becomes(gateway: RunningStack, missing: str | None) -> None:
    """Wait until exactly that check fails, with a reason; none for a service that is ready."""

    def told() -> bool:
        response = gateway.client.get("/readyz")
        answer: dict[str, Any] = response.json()
        wrong = [check for check in answer["checks"] if not check["ok"]]
        assert (response.status_code == 200) is (not wrong)
        if missing is None:
            return not wrong
        assert all(check["detail"] for check in wrong)
        return missing in [check["name"] for check in wrong]

    eventually(told, 60.0, f"the service is {'ready' if missing is None else f'without its {missing}'}")
    assert gateway.client.get("/healthz").status_code == 200


def test_redis_and_the_last_worker_go_and_come_back(
    valkey_process: RestartableValkey, tmp_path: Path
) -> None:
    blobs_url = (tmp_path / "blobs").as_uri()
    with running_service(valkey_process, blobs_url, tmp_path) as (gateway, worker):
        valkey_process.kill()
        becomes(gateway, "queue")
        valkey_process.start()
        becomes(gateway, None)
        worker.kill()
        becomes(gateway, "workers")
        worker.start()
        becomes(gateway, None)


def test_a_folder_goes_and_comes_back(valkey_process: RestartableValkey, tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    with running_service(valkey_process, blobs.as_uri(), tmp_path) as (gateway, _):
        shutil.move(blobs, tmp_path / "elsewhere")
        becomes(gateway, "storage")
        assert not blobs.exists()
        shutil.move(tmp_path / "elsewhere", blobs)
        becomes(gateway, None)


def test_s3_goes_and_comes_back(
    valkey_process: RestartableValkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)

    def started() -> ThreadedMotoServer:
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
        server.start()
        client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        return server

    server = started()
    with running_service(valkey_process, f"s3://{BUCKET}/some", tmp_path) as (gateway, _):
        server.stop()
        becomes(gateway, "storage")
        server = started()
        becomes(gateway, None)
    server.stop()
