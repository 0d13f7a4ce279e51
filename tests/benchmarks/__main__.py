"""`make bench`: what the service costs above the bare network, as ratios measured in one run.

Absolute figures depend on the machine and on who shares it; a ratio of two things
measured in turn, several times, does not. Prints a table and writes a result file.
"""

import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

# As the worker does, and for the same reason.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import click
import numpy as np
import torch
from PIL import Image
from redis import Redis

from sr_models.manifest import CheckpointFolder, default_checkpoint_folder
from sr_models.upscaler import Upscaler
from tests.pictures import encoded, natural_picture
from tests.valkey import running_valkey
from worker.contract.blobs import BlobStore
from worker.contract.jobs import InputPicture, JobResult, PictureFormat, UpscaleJob
from worker.contract.queue import RqJobQueue
from worker.contract.testing import sample_job, sample_result
from worker.pipeline import Pipeline, UpscaleRequest
from worker.processing import JobProcessor
from worker.rq_worker import BatchWorker, Processor

MODEL, SCALE, SIDE_PX = "espcn", 4, 256
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figure:
    """One ratio, higher is better, or one cost, lower is better."""

    name: str
    baseline: str
    median: float
    runs: list[float]
    unit: str


def ratio(
    name: str, baseline: str, ours_s: Callable[[], float], theirs_s: Callable[[], float], runs: int
) -> Figure:
    """How fast ours is as a share of the baseline's speed: baseline, ours, baseline, ours, …"""
    theirs_s(), ours_s()  # warm
    values = []
    for _ in range(runs):
        baseline_s = theirs_s()
        values.append(baseline_s / ours_s())
    return Figure(name, baseline, statistics.median(values), values, "ratio")


def seconds(action: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    action()
    return time.perf_counter() - started_s


class BareNetwork:
    """The network over tensors that are in memory already: no files, no queue, no canvas."""

    def __init__(self, pictures: int) -> None:
        checkpoint = CheckpointFolder(default_checkpoint_folder()).find(MODEL, SCALE)
        self._upscaler = Upscaler.from_checkpoint(checkpoint)
        samples = np.stack([np.asarray(natural_picture(128, 128, seed)) for seed in range(4)])
        self._batch_NHWC = samples
        # The same LR pixels as the pictures have: each is four tiles' cores of 128 px.
        self._passes = pictures

    def run(self) -> None:
        for _ in range(self._passes):
            self._upscaler.enlarge(self._batch_NHWC)


class WholeWorker:
    """Our worker on a real Valkey and a folder of blobs, from queued job to stored result."""

    def __init__(self, redis: Redis, folder: Path, processor: Processor) -> None:
        self._redis = redis
        self._queue = RqJobQueue(redis, job_timeout_s=600, retention_s=600)
        self.blobs = BlobStore.from_url(folder.as_uri())
        self._processor = processor

    def run(self, jobs: list[UpscaleJob]) -> float:
        """Seconds from the first job's admission to the last one's end."""
        self._redis.flushall()
        for job in jobs:
            self._queue.submit(job)
        worker = BatchWorker(
            self._redis,
            self._processor,
            max_jobs_in_flight=8,
            max_bytes_in_flight=2 << 30,
            lease_s=30,
            retention_s=600,
        )
        elapsed_s = seconds(lambda: worker.work(burst=True, logging_level="ERROR"))
        for job in jobs:
            record = self._queue.find(job.id)
            assert record is not None
            assert record.result is not None, record.failure
        return elapsed_s


class NoWork:
    """A processor that does nothing: what is left is queue and bookkeeping."""

    def process(self, job: UpscaleJob, on_progress: object, canceled: object) -> JobResult:
        return sample_result()

    def erase(self, job: UpscaleJob) -> None:
        pass


def picture_jobs(blobs: BlobStore, pictures: int, output_format: PictureFormat) -> list[UpscaleJob]:
    jobs = []
    for number in range(pictures):
        content = encoded(natural_picture(SIDE_PX, SIDE_PX, number % 8), "JPEG")
        picture = InputPicture(PictureFormat.JPEG, SIDE_PX, SIDE_PX, len(content), "", "")
        job = UpscaleJob(f"{output_format}-{number}", MODEL, SCALE, output_format, None, picture, time.time())
        blobs.put(job.input_key, content)
        jobs.append(job)
    return jobs


def mixed_pictures(count: int) -> list[bytes]:
    """Sides of 100 to 1200 px with a heavy tail, as uploads have."""
    rng = np.random.default_rng(0)
    sides = np.clip(100 * (1 + rng.pareto(1.5, size=(count, 2))), 100, 1200).astype(int)
    return [encoded(natural_picture(int(w), int(h), i), "JPEG") for i, (w, h) in enumerate(sides)]


def one_at_a_time(pictures: list[bytes], upscaler: Upscaler) -> None:
    """What a script does: decode, the whole picture through the network, encode."""
    for content in pictures:
        samples = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
        larger = upscaler.enlarge(samples[None])[0]
        Image.fromarray(larger).save(
            io.BytesIO(), "JPEG", quality=92, subsampling="4:4:4", progressive=True, optimize=True
        )


def through_pipeline(pictures: list[bytes], pipeline: Pipeline) -> None:
    futures = [pipeline.submit(UpscaleRequest(content, MODEL, SCALE)) for content in pictures]
    for future in futures:
        future.result()


def measure(runs: int, pictures: int) -> list[Figure]:
    figures = []
    bare = BareNetwork(pictures)
    with (
        running_valkey() as url,
        Redis.from_url(url) as redis,
        tempfile.TemporaryDirectory() as folder,
        Pipeline() as pipeline,
    ):
        blobs = BlobStore.from_url(Path(folder).as_uri())
        worker = WholeWorker(redis, Path(folder), JobProcessor(blobs, pipeline))
        for output_format in (PictureFormat.JPEG, PictureFormat.PNG):
            jobs = picture_jobs(blobs, pictures, output_format)
            figures.append(
                ratio(
                    f"worker, {pictures} jobs of {SIDE_PX}x{SIDE_PX}, {MODEL} x{SCALE}, {output_format} out",
                    "the bare network on tensors in memory",
                    lambda jobs=jobs: worker.run(jobs),  # type: ignore[misc]
                    lambda: seconds(bare.run),
                    runs,
                )
            )
        mixed = mixed_pictures(40)
        upscaler = Upscaler.from_checkpoint(CheckpointFolder(default_checkpoint_folder()).find(MODEL, SCALE))
        figures.append(
            ratio(
                f"pipeline, 40 pictures of mixed sizes, {MODEL} x{SCALE}, JPEG in and out",
                "one picture at a time, untiled, decode and encode in line",
                lambda: seconds(lambda: through_pipeline(mixed, pipeline)),
                lambda: seconds(lambda: one_at_a_time(mixed, upscaler)),
                runs,
            )
        )
        idle = WholeWorker(redis, Path(folder), NoWork())
        jobs = [sample_job(str(number)) for number in range(200)]
        costs_ms = [idle.run(jobs) / len(jobs) * 1000 for _ in range(runs)]
        figures.append(
            Figure("queue and bookkeeping for each job", "", statistics.median(costs_ms), costs_ms, "ms")
        )
    return figures


@click.command()
@click.option("--runs", default=5, help="How often each pair is measured.")
@click.option("--pictures", default=32, help="Jobs in the worker's figures.")
@click.option("--write/--no-write", default=True, help=f"Write a result file to {RESULTS.name}/.")
def main(runs: int, pictures: int, write: bool) -> None:
    """Measure, print, and write the result file."""
    torch.set_num_threads(os.cpu_count() or 1)
    figures = measure(runs, pictures)
    for figure in figures:
        against = f"  (against {figure.baseline})" if figure.baseline else ""
        spread = f"{min(figure.runs):.2f} to {max(figure.runs):.2f}"
        click.echo(f"{figure.median:8.2f} {figure.unit:5} [{spread}]  {figure.name}{against}")
    if write:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout
        result = {
            "command": " ".join(["python -m tests.benchmarks", *sys.argv[1:]]),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit.strip(),
            "machine": {"processor": platform.machine(), "cores": os.cpu_count()},
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
            "figures": [asdict(figure) for figure in figures],
        }
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-{os.cpu_count()}-cores.json"
        path.write_text(json.dumps(result, indent=2) + "\n")
        click.echo(f"wrote {path}")


if __name__ == "__main__":
    main()
