"""`python -m worker`: one worker on one device, until SIGTERM."""

import logging
import os

# Before torch is imported. Its OpenMP threads otherwise spin while they wait for each other; on cores that others use too
# that cost a factor of three to fifteen (ESPCN x4 over 1024x768, two threads on two busy cores: 14.4 s, against 0.96 s).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from redis import Redis

from worker.contract.blobs import BlobStore
from worker.contract.logs import configure_logging
from worker.decoder import DecoderPool
from worker.device import choose_device, choose_threads
from worker.metrics import WorkerMetrics
from worker.pipeline import Pipeline
from worker.processing import JobProcessor
from worker.rq_worker import BatchWorker
from worker.settings import WorkerSettings
from worker.sweep import Sweep

logger = logging.getLogger("worker")


def main() -> None:
    """Take jobs until told to stop; what runs then is finished, the rest stays queued."""
    settings = WorkerSettings()
    configure_logging(settings.log_format)
    device = choose_device(settings.device)
    if settings.threads or device == "cpu":
        torch.set_num_threads(settings.threads or choose_threads())
    # Longer than RQ waits for a job in one command: with a client's usual 5 s an idle worker would give up.
    redis = Redis.from_url(settings.redis_url, socket_timeout=settings.lease_s + 15)
    blobs = BlobStore.from_url(settings.blobs_url)
    sweep = Sweep(redis, blobs, retention_s=settings.retention_s)
    sweep.start()
    metrics = WorkerMetrics()
    metrics.watch_device_memory(device)
    with (
        metrics.served(settings.metrics_port, settings.metrics_address),
        DecoderPool(
            timeout_s=settings.decode_timeout_s, memory_bytes=settings.decode_memory_bytes
        ) as decoders,
        Pipeline(
            settings.checkpoints,
            device,
            precision=settings.precision,
            tile_px=settings.tile_px,
            batch_px=settings.batch_px,
            metrics=metrics,
            decode=decoders.decode,
        ) as pipeline,
    ):
        logger.info("ready on %s, process %d", pipeline.device, os.getpid())
        BatchWorker(
            redis,
            JobProcessor(blobs, pipeline, keep_inputs=settings.keep_inputs),
            max_jobs_in_flight=settings.max_jobs_in_flight,
            max_bytes_in_flight=settings.max_bytes_in_flight,
            lease_s=settings.lease_s,
            retention_s=settings.retention_s,
            metrics=metrics,
            faults=pipeline.faults,
        ).work(logging_level="WARNING")  # we log each job's start and end ourselves
    sweep.stop()
    logger.info("stopped")


if __name__ == "__main__":
    main()
