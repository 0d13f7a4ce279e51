"""`python -m worker` as a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from tests.eventually import eventually
from tests.pictures import encoded, natural_picture
from tests.samples import sample_job
from tests.stack import free_port
from worker.contract.blobs import BlobStore
from worker.contract.fleet import RqFleet
from worker.contract.queue import JobQueue

IDLE_S = 8.0
"""Longer than the 5 s that a Redis client usually waits for an answer."""


@pytest.mark.timeout(180)
def test_a_job_is_followed_by_its_id_and_counted(valkey: Redis, valkey_url: str, tmp_path: Path) -> None:
    port = free_port()
    environment = {
        **os.environ,
        "ENLARGER_REDIS_URL": valkey_url,
        "ENLARGER_BLOBS_URL": tmp_path.as_uri(),
        "ENLARGER_DEVICE": "cpu",
        "ENLARGER_LOG_FORMAT": "json",
        "ENLARGER_METRICS_PORT": str(port),
    }
    blobs = BlobStore.from_url(tmp_path.as_uri())
    queue = JobQueue(valkey, job_timeout_s=60, retention_s=600)
    job = replace(sample_job("a" * 32), model="bicubic")
    broken = replace(sample_job("b" * 32), model="bicubic")
    blobs.put(job.input_key, encoded(natural_picture(40, 30), "PNG"))
    blobs.put(broken.input_key, b"no picture")
    for each in (job, broken):
        queue.submit(each)
    with subprocess.Popen(
        [sys.executable, "-m", "worker"], env=environment, stderr=subprocess.PIPE
    ) as process:
        try:
            for each in (job, broken):
                eventually(lambda each=each: _ended(queue, each.id), 60.0, "the job ended")  # type: ignore[misc]
            exported = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        finally:
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=60)
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(exported)
        for sample in family.samples
    }
    assert samples["enlarger_jobs_started_total", "interactive"] == 2
    assert samples["enlarger_jobs_ended_total", "", "bicubic-x2@1", "succeeded"] == 1
    assert samples["enlarger_jobs_ended_total", "", "failed", "picture_unsupported"] == 1
    assert samples["enlarger_pass_pixels_sum", "bicubic-x2@1"] == 40 * 30
    assert samples[("enlarger_in_flight_jobs",)] == 0
    lines = [json.loads(line) for line in said.splitlines()]
    of_job = [line["message"] for line in lines if line.get("job_id") == job.id]
    assert of_job[0].startswith("started: ")
    assert of_job[-1].startswith("succeeded: bicubic-x2@1, 80x60 px")
    assert any(
        line.get("job_id") == broken.id and "failed: picture_unsupported" in line["message"] for line in lines
    )


def _ended(queue: JobQueue, job_id: str) -> bool:
    record = queue.find(job_id)
    return record is not None and record.status.final


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
