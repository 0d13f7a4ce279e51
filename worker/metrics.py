"""What a worker shows of itself to Prometheus. `docs/metrics.md` says what each metric is good for.

Labels take few values, all of them ours: priorities, final states, failure codes, picture formats, and published versions.
Nothing that a client chose becomes a label.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    start_http_server,
)

from worker.contract.jobs import InputFormat, JobStatus, PictureFormat, Priority

QUEUE_BUCKETS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
"""From a worker that is idle (two looks at the queue are 20 ms apart) to a backlog of an hour."""

RUN_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
"""From an icon through a small network to a job's default deadline."""

CODEC_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""A PNG costs 60 ms a megapixel to write at level 1: from an icon to the 200 megapixels that a gateway lets through."""

PASS_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
"""Passes are planned to end within 0.25 s (`worker.pass_budget.LONGEST_S`); a GPU needs milliseconds."""

PASS_BUCKETS_PX = tuple(4**exponent for exponent in range(5, 13))
"""Squares of 32, 64, … 4096 px: from the smallest tile to 256 tiles of 256 px."""

FILL_BUCKETS = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
"""A tile larger than the budget runs alone, and counts above 1."""

SHA256_DIGITS = 12
"""Enough to tell versions apart."""


class MetricsPortError(OSError):
    """The metrics' port cannot be listened on: give another ENLARGER_METRICS_PORT, or 0 for none."""


class WorkerMetrics:
    """Counts, times and levels of one worker. Thread-safe; the dearest note, of a pass, costs 8 µs."""

    def __init__(self) -> None:
        """On a registry of its own, with the process's memory, CPU time and files where the system tells them."""
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        ProcessCollector(registry=self.registry)

        self._started = counter("enlarger_jobs_started", "Jobs taken from the queue", ["priority"])
        self._ended = counter("enlarger_jobs_ended", "Jobs that ended", ["state", "code", "model"])
        self._retries = counter(
            "enlarger_job_retries", "Jobs taken again, after an attempt that did not end them"
        )
        self._queue_s = histogram(
            "enlarger_job_queue_seconds",
            "From the queue's door to a worker",
            ["priority"],
            buckets=QUEUE_BUCKETS_S,
        )
        self._run_s = histogram(
            "enlarger_job_run_seconds", "From being taken to success", ["model"], buckets=RUN_BUCKETS_S
        )
        self._result_px = counter("enlarger_result_pixels", "Pixels of the results made", ["model"])
        self._in_flight_jobs = gauge("enlarger_in_flight_jobs", "Jobs taken that have not ended")
        self._in_flight_bytes = gauge("enlarger_in_flight_bytes", "Memory that those jobs may take at most")

        self._decode_s = histogram(
            "enlarger_decode_seconds", "Reading a picture", ["format"], buckets=CODEC_BUCKETS_S
        )
        self._encode_s = histogram(
            "enlarger_encode_seconds", "Writing a result", ["format"], buckets=CODEC_BUCKETS_S
        )

        self._tiles = counter("enlarger_tiles", "Tiles enlarged", ["model"])
        self._pass_px = histogram(
            "enlarger_pass_pixels",
            "LR pixels in a forward pass, halos too",
            ["model"],
            buckets=PASS_BUCKETS_PX,
        )
        self._pass_fill = histogram(
            "enlarger_pass_fill_ratio", "A pass's pixels as a share of its budget", buckets=FILL_BUCKETS
        )
        self._pass_wait_s = histogram(
            "enlarger_pass_wait_seconds",
            "What the picture that opens a pass has waited for it, since it came or since its last pass",
            buckets=PASS_BUCKETS_S,
        )
        self._forward_s = histogram(
            "enlarger_pass_forward_seconds", "A forward pass on the device", ["model"], buckets=PASS_BUCKETS_S
        )
        self._isolated = counter(
            "enlarger_passes_isolated", "Passes that failed in company and were run again tile by tile"
        )
        self._split = counter(
            "enlarger_passes_split", "Passes too large for the device's memory, run again in halves"
        )
        self._float32 = counter(
            "enlarger_float32_retries", "Tiles whose samples were no numbers, made again in float32"
        )

        self._loaded = gauge(
            "enlarger_model_loaded_info", "1 for each version that is ready", ["checkpoint", "sha256"]
        )
        self._fault = gauge(
            "enlarger_model_fault",
            "1 where the version in production cannot be loaded and an earlier one is served",
            ["family", "scale"],
        )
        self._allocated = gauge(
            "enlarger_device_memory_allocated_bytes", "CUDA memory in tensors; none on a CPU", ["device"]
        )
        self._reserved = gauge(
            "enlarger_device_memory_reserved_bytes", "CUDA memory that torch holds; none on a CPU", ["device"]
        )
        for priority in Priority:  # so that the first job is already an increase
            self._started.labels(priority)
            self._queue_s.labels(priority)

    @contextmanager
    def served(self, port: int, address: str = "127.0.0.1") -> Iterator[None]:
        """Within it, `http://address:port/metrics` answers, from a daemon thread; port 0 is off. Raises MetricsPortError."""
        if not port:
            yield
            return
        try:
            server, thread = start_http_server(port, address, self.registry)
        except OSError as error:
            reason = error.strerror or error
            raise MetricsPortError(f"{address} port {port} ({reason}): {MetricsPortError.__doc__}") from error
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def watch_device_memory(self, device: str) -> None:
        """Ask a CUDA device for its memory at each scrape. Another device has none of its own: see the process's."""
        if torch.device(device).type == "cuda":
            self._allocated.labels(device).set_function(lambda: torch.cuda.memory_allocated(device))
            self._reserved.labels(device).set_function(lambda: torch.cuda.memory_reserved(device))

    # ---- jobs

    def job_started(self, priority: Priority, queued_s: float) -> None:
        """A job was taken, `queued_s` after it was put into the queue."""
        self._started.labels(priority).inc()
        self._queue_s.labels(priority).observe(queued_s)

    def retried(self) -> None:
        """The job that was just taken has been begun before: its worker died, or what failed may pass."""
        self._retries.inc()

    def job_ended(
        self, state: JobStatus, *, code: str = "", model: str = "", run_s: float = 0.0, result_px: int = 0
    ) -> None:
        """A job reached its final state, `run_s` after it was taken.

        `code` is a failure's; `model` the label of the version that made the result, such as espcn-x4@2, never what a client
        asked for.
        """
        self._ended.labels(state, code, model).inc()
        if state is JobStatus.SUCCEEDED:
            self._run_s.labels(model).observe(run_s)
            self._result_px.labels(model).inc(result_px)

    def in_flight(self, jobs: int, size_bytes: int) -> None:
        """How many jobs are in flight now, and what memory they may take."""
        self._in_flight_jobs.set(jobs)
        self._in_flight_bytes.set(size_bytes)

    def decoded(self, picture_format: InputFormat, duration_s: float) -> None:
        """A picture was read."""
        self._decode_s.labels(picture_format).observe(duration_s)

    def encoded(self, picture_format: PictureFormat, duration_s: float) -> None:
        """A result was written."""
        self._encode_s.labels(picture_format).observe(duration_s)

    # ---- passes

    def pass_done(
        self, model: str, *, tiles: int, pixels: int, budget_px: int, wait_s: float, forward_s: float
    ) -> None:
        """A pass of that version over `pixels` LR pixels ended well."""
        self._tiles.labels(model).inc(tiles)
        self._pass_px.labels(model).observe(pixels)
        self._pass_fill.observe(pixels / budget_px)
        self._pass_wait_s.observe(wait_s)
        self._forward_s.labels(model).observe(forward_s)

    def isolated(self) -> None:
        """A pass failed in company, and its tiles run alone."""
        self._isolated.inc()

    def split_for_memory(self) -> None:
        """The device's memory was too small for a pass, which runs in halves."""
        self._split.inc()

    def retried_in_float32(self, tiles: int) -> None:
        """Tiles of a pass, perhaps none, held samples that were no numbers."""
        self._float32.inc(tiles)

    # ---- models

    def model_loaded(self, checkpoint: str, sha256: str) -> None:
        """A version is ready on the device."""
        self._loaded.labels(checkpoint, sha256[:SHA256_DIGITS]).set(1)

    def model_unloaded(self, checkpoint: str, sha256: str) -> None:
        """A version made room for others."""
        self._loaded.remove(checkpoint, sha256[:SHA256_DIGITS])

    def model_served(self, family: str, scale: int, *, fault: bool) -> None:
        """A family's version in production was asked for; `fault` where an earlier one is served for it."""
        self._fault.labels(family, scale).set(fault)
