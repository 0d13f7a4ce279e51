"""What every test shares: one thread for torch, and a real Valkey."""

import os

# Before torch is imported, and inherited by the workers that tests start: on pictures as small as
# these a second thread only waits, and where cores are shared it waits long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer
from redis import Redis

from tests.valkey import running_valkey
from worker.contract.queue import JobQueue


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[str]:
    """The `unix://` URL of one real Valkey for the whole run. Use `valkey_url`, which is empty for each test."""
    with running_valkey() as url:
        yield url


@pytest.fixture
def valkey_url(valkey_server: str) -> str:
    """The `unix://` URL of a real Valkey with nothing in it."""
    with Redis.from_url(valkey_server) as redis:
        redis.flushall()
    return valkey_server


@pytest.fixture
def valkey(valkey_url: str) -> Iterator[Redis]:
    """A client of a real Valkey with nothing in it."""
    with Redis.from_url(valkey_url) as redis:
        yield redis


@pytest.fixture
def queue(valkey: Redis) -> JobQueue:
    """An empty queue on a real Valkey."""
    return JobQueue(valkey, job_timeout_s=60, retention_s=600)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_url(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in {
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = f"pictures-{os.urandom(4).hex()}"
    boto3.client("s3", endpoint_url=s3_endpoint, region_name="us-east-1").create_bucket(Bucket=bucket)
    return f"s3://{bucket}/some/prefix"
