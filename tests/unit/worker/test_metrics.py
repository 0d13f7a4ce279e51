import mmap
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest
import torch
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from tests.metrics_page import documented, exported, names_in_use, sample_names
from tests.stack import free_port
from worker.contract.jobs import InputFormat, JobStatus, PictureFormat, Priority
from worker.metrics import MetricsPortError, WorkerMetrics

MODEL = "espcn-x4@2"
SHA256 = "0123456789abcdef" * 4


class Worker:
    """A worker's metrics, and a scraper of them."""

    def __init__(self) -> None:
        self.metrics = WorkerMetrics()
        self.port = free_port()
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False)

    def scrape(self) -> str:
        response = self.client.get("/metrics")
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/plain")
        return response.text

    def sample(self, name: str, **labels: str) -> float | None:
        found = [
            sample.value
            for family in text_string_to_metric_families(self.scrape())
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        ]
        assert len(found) < 2
        return found[0] if found else None


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    with worker.client, worker.metrics.served(worker.port):
        yield worker


def note_everything(metrics: WorkerMetrics) -> None:
    metrics.job_started(Priority.BULK, 0.2)
    metrics.job_ended(JobStatus.SUCCEEDED, model=MODEL, run_s=1.0, result_px=480_000)
    metrics.decoded(InputFormat.PNG, 0.01)
    metrics.encoded(PictureFormat.PNG, 0.02)
    metrics.pass_done(MODEL, tiles=1, pixels=4096, budget_px=8192, wait_s=0.0, forward_s=0.01)
    metrics.model_loaded(MODEL, SHA256)
    metrics.model_served("espcn", 4, fault=False)


def test_a_job_is_counted_from_its_start_to_its_end(worker: Worker) -> None:
    metrics = worker.metrics
    assert worker.sample("enlarger_jobs_started_total", priority="interactive") == 0
    metrics.job_started(Priority.INTERACTIVE, 0.07)
    metrics.job_started(Priority.BULK, 100.0)
    metrics.retried()
    metrics.in_flight(2, 3_000_000)
    assert worker.sample("enlarger_jobs_started_total", priority="interactive") == 1
    assert worker.sample("enlarger_job_retries_total") == 1
    assert worker.sample("enlarger_in_flight_jobs") == 2
    assert worker.sample("enlarger_in_flight_bytes") == 3_000_000
    assert worker.sample("enlarger_job_queue_seconds_bucket", priority="interactive", le="0.05") == 0
    assert worker.sample("enlarger_job_queue_seconds_bucket", priority="interactive", le="0.1") == 1
    assert worker.sample("enlarger_job_queue_seconds_bucket", priority="bulk", le="60.0") == 0
    assert worker.sample("enlarger_job_queue_seconds_sum", priority="bulk") == 100.0

    metrics.job_ended(JobStatus.SUCCEEDED, model=MODEL, run_s=2.0, result_px=480_000)
    metrics.job_ended(JobStatus.SUCCEEDED, model=MODEL, run_s=4.0, result_px=20_000)
    metrics.job_ended(JobStatus.FAILED, code="picture_damaged", run_s=9.0)
    metrics.job_ended(JobStatus.CANCELED)
    metrics.in_flight(0, 0)
    ended = "enlarger_jobs_ended_total"
    assert worker.sample(ended, state="succeeded", code="", model=MODEL) == 2
    assert worker.sample(ended, state="failed", code="picture_damaged", model="") == 1
    assert worker.sample(ended, state="canceled", code="", model="") == 1
    assert worker.sample("enlarger_result_pixels_total", model=MODEL) == 500_000
    assert worker.sample("enlarger_job_run_seconds_sum", model=MODEL) == 6.0
    assert worker.sample("enlarger_job_run_seconds_count", model="") is None, "only of jobs that succeeded"
    assert worker.sample("enlarger_in_flight_jobs") == 0


def test_a_pass_is_counted(worker: Worker) -> None:
    metrics = worker.metrics
    metrics.pass_done(MODEL, tiles=3, pixels=30_000, budget_px=40_000, wait_s=0.5, forward_s=0.02)
    metrics.pass_done(MODEL, tiles=1, pixels=60_000, budget_px=40_000, wait_s=0.0, forward_s=0.04)
    metrics.isolated()
    metrics.split_for_memory()
    metrics.retried_in_float32(0)
    metrics.retried_in_float32(2)
    assert worker.sample("enlarger_tiles_total", model=MODEL) == 4
    assert worker.sample("enlarger_pass_pixels_sum", model=MODEL) == 90_000
    assert worker.sample("enlarger_pass_pixels_bucket", model=MODEL, le="65536.0") == 2
    assert worker.sample("enlarger_pass_pixels_bucket", model=MODEL, le="16384.0") == 0
    assert worker.sample("enlarger_pass_fill_ratio_bucket", le="0.75") == 1
    assert worker.sample("enlarger_pass_fill_ratio_bucket", le="1.0") == 1, "a tile alone over the budget"
    assert worker.sample("enlarger_pass_fill_ratio_sum") == 2.25
    assert worker.sample("enlarger_pass_wait_seconds_sum") == 0.5
    assert worker.sample("enlarger_pass_forward_seconds_count", model=MODEL) == 2
    assert worker.sample("enlarger_passes_isolated_total") == 1
    assert worker.sample("enlarger_passes_split_total") == 1
    assert worker.sample("enlarger_float32_retries_total") == 2


def test_pictures_are_timed_by_format(worker: Worker) -> None:
    worker.metrics.decoded(InputFormat.JPEG, 0.25)
    worker.metrics.encoded(PictureFormat.PNG, 1.5)
    assert worker.sample("enlarger_decode_seconds_sum", format="jpeg") == 0.25
    assert worker.sample("enlarger_encode_seconds_bucket", format="png", le="1.0") == 0
    assert worker.sample("enlarger_encode_seconds_bucket", format="png", le="2.5") == 1


def test_versions_come_and_go(worker: Worker) -> None:
    metrics = worker.metrics
    metrics.model_loaded("espcn-x4@1", SHA256)
    metrics.model_loaded("espcn-x4@2", SHA256[::-1])
    metrics.model_unloaded("espcn-x4@1", SHA256)
    assert worker.sample("enlarger_model_loaded_info", checkpoint="espcn-x4@1", sha256=SHA256[:12]) is None
    assert worker.sample("enlarger_model_loaded_info", checkpoint="espcn-x4@2", sha256="fedcba987654") == 1
    metrics.model_served("espcn", 4, fault=True)
    assert worker.sample("enlarger_model_fault", family="espcn", scale="4") == 1
    metrics.model_served("espcn", 4, fault=False)
    assert worker.sample("enlarger_model_fault", family="espcn", scale="4") == 0


def test_memory_is_the_processs_on_a_cpu(worker: Worker) -> None:
    worker.metrics.watch_device_memory("cpu")
    before = worker.sample("process_resident_memory_bytes")
    assert before is not None
    # Fresh pages from the system: an array might be given what the process had already.
    with mmap.mmap(-1, 64 << 20) as held:
        held.write(bytes(len(held)))
        after = worker.sample("process_resident_memory_bytes")
        assert after is not None
        assert after - before > len(held) / 2
    assert worker.sample("enlarger_device_memory_allocated_bytes", device="cpu") is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_memory_is_the_devices_on_cuda(worker: Worker) -> None:
    worker.metrics.watch_device_memory("cuda:0")
    held = torch.ones(64 << 20, dtype=torch.uint8, device="cuda:0")
    allocated = worker.sample("enlarger_device_memory_allocated_bytes", device="cuda:0")
    reserved = worker.sample("enlarger_device_memory_reserved_bytes", device="cuda:0")
    assert allocated is not None
    assert reserved is not None
    assert reserved >= allocated >= held.nbytes


def test_no_note_is_lost_among_threads(worker: Worker) -> None:
    meeting = threading.Barrier(4)

    def note(_: int) -> None:
        meeting.wait()
        for _ in range(500):
            worker.metrics.pass_done(MODEL, tiles=2, pixels=10, budget_px=20, wait_s=0.0, forward_s=0.0)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(note, range(4)))
    assert worker.sample("enlarger_tiles_total", model=MODEL) == 4000
    assert worker.sample("enlarger_pass_pixels_sum", model=MODEL) == 20_000


def test_the_server_ends_with_its_context_and_can_begin_again() -> None:
    worker = Worker()
    with worker.client:
        for _ in range(2):
            with worker.metrics.served(worker.port):
                assert worker.scrape()
            with pytest.raises(httpx.ConnectError):
                worker.scrape()
    with worker.metrics.served(0):
        assert not [thread for thread in threading.enumerate() if "serve_forever" in thread.name]


def test_a_port_in_use_is_said() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(MetricsPortError, match=f"port {port} .*in use.*another ENLARGER_METRICS_PORT"),
            WorkerMetrics().served(port),
        ):
            pass


def test_the_registry_is_its_own() -> None:
    first, second = WorkerMetrics(), WorkerMetrics()
    first.isolated()
    assert first.registry.get_sample_value("enlarger_passes_isolated_total") == 1
    assert second.registry.get_sample_value("enlarger_passes_isolated_total") == 0
    assert REGISTRY.get_sample_value("enlarger_passes_isolated_total") is None


def test_importing_starts_nothing() -> None:
    program = "import threading, worker.metrics; print(threading.active_count())"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "1\n"


def test_the_page_shows_what_a_worker_shows(worker: Worker) -> None:
    note_everything(worker.metrics)
    # Without a CUDA device these have no samples, and so no labels.
    unseen = set() if torch.cuda.is_available() else {"enlarger_device_memory_allocated_bytes"}
    unseen |= {name.replace("allocated", "reserved") for name in unseen}
    if torch.cuda.is_available():
        worker.metrics.watch_device_memory("cuda:0")
    page = {replace(m, labels=frozenset()) if m.name in unseen else m for m in documented("Worker", "Both")}
    assert exported(worker.scrape()) == page


def test_every_query_on_the_page_asks_for_what_there_is() -> None:
    assert names_in_use() <= sample_names(documented("Gateway", "Worker", "Both"))
