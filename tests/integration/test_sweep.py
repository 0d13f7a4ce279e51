from pathlib import Path

from redis import Redis

from tests.samples import sample_job, sample_result
from worker.contract.blobs import BlobStore, BlobStoreError
from worker.contract.queue import JobQueue
from worker.sweep import Sweep


def test_only_old_pictures_of_jobs_that_are_gone_are_erased(valkey: Redis) -> None:
    blobs = BlobStore.from_url("memory:///")
    queue = JobQueue(valkey, job_timeout_s=60, retention_s=600)
    queue.submit(sample_job("known"))
    for job_id in ("known", "gone"):
        for name in ("input", "result"):
            blobs.put(f"jobs/{job_id}/{name}", b"x")
    assert Sweep(valkey, blobs, retention_s=600).sweep() == 0
    assert len(blobs.keys("jobs/")) == 4
    assert Sweep(valkey, blobs, retention_s=-60).sweep() == 1
    assert blobs.keys("jobs/") == ["jobs/known/input", "jobs/known/result"]


def test_a_result_expires_before_its_record(valkey: Redis) -> None:
    blobs = BlobStore.from_url("memory:///")
    queue = JobQueue(valkey, job_timeout_s=60, retention_s=600)
    queue.submit_done(sample_job("done"), sample_result())
    blobs.put("jobs/done/result", b"x")
    assert Sweep(valkey, blobs, retention_s=600).sweep() == 0
    assert Sweep(valkey, blobs, retention_s=-60).sweep() == 1
    assert blobs.keys("jobs/") == []
    record = queue.find("done")
    assert record is not None
    assert record.ended_at is not None
    assert record.expires_at == record.ended_at + 600


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


def test_what_cannot_be_erased_keeps_nothing_else(valkey: Redis, tmp_path: Path) -> None:
    blobs = BlobStore.from_url(tmp_path.as_uri())
    for job_id in ("a", "b", "c"):
        blobs.put(f"jobs/{job_id}/result", b"x")
    (tmp_path / "jobs" / ".DS_Store").write_bytes(b"x")
    erase = blobs.erase

    def failing(prefix: str) -> None:
        if prefix == "jobs/b/":
            raise BlobStoreError("the disk says no")
        erase(prefix)

    blobs.erase = failing  # type: ignore[method-assign]
    assert Sweep(valkey, blobs, retention_s=-60).sweep() == 2
    assert [key for key in blobs.keys("jobs/") if key.endswith("result")] == ["jobs/b/result"]
