"""`python -m worker` as a process of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from redis import Redis

from tests.eventually import eventually
from worker.contract.fleet import RqFleet

IDLE_S = 8.0
"""Longer than the 5 s that a Redis client usually waits for an answer."""


@pytest.mark.timeout(120)
def test_an_idle_worker_stays_and_stops_when_told(valkey: Redis, valkey_url: str, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "ENLARGER_REDIS_URL": valkey_url,
        "ENLARGER_BLOBS_URL": tmp_path.as_uri(),
        "ENLARGER_DEVICE": "cpu",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "worker"], env=environment, stderr=subprocess.PIPE
    ) as process:
        eventually(RqFleet(valkey).live_workers, 60.0, "the worker lives")
        deadline_s = time.monotonic() + IDLE_S
        while time.monotonic() < deadline_s:
            assert process.poll() is None
            time.sleep(0.1)
        assert len(RqFleet(valkey).live_workers()) == 1
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert b"ERROR" not in said
    assert RqFleet(valkey).live_workers() == []
