from redis import Redis

from worker.contract.blobs import BlobStore
from worker.contract.queue import RqJobQueue
from worker.contract.testing import sample_job
from worker.sweep import Sweep


def test_only_old_pictures_of_jobs_that_are_gone_are_erased(valkey: Redis) -> None:
    blobs = BlobStore.from_url("memory:///")
    queue = RqJobQueue(valkey, job_timeout_s=60, retention_s=600)
    queue.submit(sample_job("known"))
    for job_id in ("known", "gone"):
        for name in ("input", "result"):
            blobs.put(f"jobs/{job_id}/{name}", b"x")
    assert Sweep(valkey, blobs, retention_s=600).sweep() == 0
    assert len(blobs.keys("jobs/")) == 4
    assert Sweep(valkey, blobs, retention_s=-60).sweep() == 1
    assert blobs.keys("jobs/") == ["jobs/known/input", "jobs/known/result"]


def test_one_worker_sweeps_in_an_interval(valkey: Redis) -> None:
    blobs = BlobStore.from_url("memory:///")
    first, second = (Sweep(valkey, blobs, retention_s=-60) for _ in range(2))
    blobs.put("jobs/gone/input", b"x")
    first.start()
    first.stop()
    blobs.put("jobs/gone/input", b"x")
    second.start()
    second.stop()
    assert blobs.keys("jobs/") == ["jobs/gone/input"]
