"""What accepting an upload costs beside writing it to a file."""

import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
from PIL import Image
from redis import Redis

from tests.benchmarks.figures import Bar, Figure, in_turn, ratios
from tests.benchmarks.http_load import MARK, Load, run, upload, uploads
from tests.benchmarks.plan import Plan
from tests.benchmarks.site import Site
from tests.chaos.gateway_process import running_gateway
from tests.eventually import eventually
from tests.stack import free_port
from tests.valkey import running_valkey

BAR = Bar(0.5)
CONNECTIONS = 8
CORES = os.cpu_count() or 1
PICTURE_BYTES = 100_000
NO_BOUNDS = {
    "ENLARGER_AUTH": "none",
    "ENLARGER_MAX_QUEUED_PIXELS": str(10**15),
    "ENLARGER_MAX_QUEUE_AGE_S": "1e9",
}
"""Like the other route, this one asks nobody for a key. Nothing takes the jobs, which would otherwise be refused at last; of their number there are never more than the default allows."""


def submission(site: Site, plan: Plan) -> list[Figure]:
    """Uploads a second, against a route that does nothing but write them to a file; and how long polls take meanwhile."""
    request = upload("localhost", _picture())
    loads: dict[str, list[Load]] = {"minimal": [], "one process": [], "a process for each core": []}
    polls: list[Load] = []
    with (
        tempfile.TemporaryDirectory(prefix="submission-") as folder,
        running_valkey() as valkey_url,
        _minimal_app(Path(folder)) as minimal_url,
        _gateway(valkey_url, Path(folder), 1) as single_url,
        _gateway(valkey_url, Path(folder), CORES) as gateway_url,
        Redis.from_url(valkey_url) as redis,
    ):
        urls = dict(zip(loads, (minimal_url, single_url, gateway_url), strict=True))

        def measure(name: str) -> float:
            redis.flushdb()
            loads[name].append(run(urls[name], uploads(request), plan.uploads, CONNECTIONS))
            return loads[name][-1].requests_per_s

        for name in urls:  # warm all of them up
            measure(name)
        minimal, single, several = in_turn(plan.runs, *(partial(measure, name) for name in urls))
        for _ in range(plan.runs):
            redis.flushdb()
            polls.append(_polled_under_load(gateway_url, request, plan))
    note = ", ".join(
        f"{name} {last.requests_per_s:.0f}/s p50 {last.percentile_ms(50):.1f} p99 {last.percentile_ms(99):.1f} ms"
        for name, (*_, last) in loads.items()
    )
    baseline = "a FastAPI route that writes the upload to a file"
    return [
        Figure("uploads of 100 KB a second", "x", ratios(several, by=minimal), baseline, BAR, note),
        Figure("the same by a gateway of one process", "x", ratios(single, by=minimal), baseline),
        Figure(
            "GET /jobs/{id} beside such uploads, p99", "ms", tuple(load.percentile_ms(99) for load in polls)
        ),
    ]


def _polled_under_load(url: str, request: bytes, plan: Plan) -> Load:
    """Polls of waiting jobs while uploads come over as many connections as in the other figure."""
    sent = run(url, uploads(request), 50, CONNECTIONS)
    paths = [f"/jobs/{json.loads(body)['id']}" for body in sent.bodies]
    requests = cycle([f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for path in paths])
    loader = threading.Thread(target=run, args=(url, uploads(request), plan.uploads, CONNECTIONS))
    loader.start()
    load = run(url, requests, plan.uploads // 4, 1)
    loader.join()
    return load


def _picture() -> bytes:
    """A JPEG of about 100 KB with MARK in a comment."""
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    image = Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC)
    for quality in range(95, 10, -1):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality, comment=MARK)
        if file.tell() <= PICTURE_BYTES:
            break
    return file.getvalue()


@contextmanager
def _gateway(valkey_url: str, folder: Path, processes: int) -> Iterator[str]:
    blobs_url, log = (folder / "blobs").as_uri(), folder / f"gateway-{processes}.log"
    settings = {**NO_BOUNDS, "ENLARGER_GATEWAY_PROCESSES": str(processes)}
    with running_gateway(valkey_url, blobs_url, log, settings) as gateway:
        eventually(lambda: gateway.log.count("startup complete") == processes)
        yield str(gateway.client.base_url)


@contextmanager
def _minimal_app(folder: Path) -> Iterator[str]:
    port = free_port()
    files = folder / "files"
    files.mkdir()
    command = [sys.executable, "-m", "uvicorn", "tests.benchmarks.minimal_app:app", "--port", str(port)]
    with (folder / "minimal.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, "MINIMAL_APP_FOLDER": str(files)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            run(url, iter([b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"]), 1, 1)
        except OSError:
            time.sleep(0.1)
            return False
        return True

    try:
        eventually(answers)
        yield url
    finally:
        process.kill()
        process.wait()
