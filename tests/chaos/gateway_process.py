"""The gateway as a process of its own, without a stack around it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.eventually import eventually
from tests.stack import START_TIMEOUT_S, RunningStack, free_port


@contextmanager
def running_gateway(
    redis_url: str, blobs_url: str, log_path: Path, environment: Mapping[str, str] | None = None
) -> Iterator[RunningStack]:
    """A gateway that answers, and its client; killed at the end."""
    port = free_port()
    inherited = {k: v for k, v in os.environ.items() if k != "REDIS_URL" and not k.startswith("ENLARGER_")}
    settings = {
        "ENLARGER_REDIS_URL": redis_url,
        "ENLARGER_BLOBS_URL": blobs_url,
        "ENLARGER_PORT": str(port),
        **(environment or {}),
    }
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "service"],
            env={**inherited, **settings},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    gateway = RunningStack(process, port, log_path)

    def answers() -> bool:
        assert process.poll() is None, f"the gateway ended:\n{gateway.log}"
        try:
            return gateway.client.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    try:
        eventually(answers, START_TIMEOUT_S, "the gateway answers")
        yield gateway
    finally:
        gateway.client.close()
        process.kill()
        process.wait()
