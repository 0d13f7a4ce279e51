"""Workers that were silent for longer than their lease: their jobs go on elsewhere, once."""

from typing import Any

import pytest
from redis import Redis
from rq.job import Job
from rq.serializers import JSONSerializer

from tests.eventually import eventually
from tests.gated_processor import GatedProcessor, running_worker
from tests.hand_cranked_worker import HandCrankedWorker
from tests.job_status import status
from tests.samples import sample_job, sample_result
from worker.abandoned import give_back_abandoned
from worker.batch_job import BatchJob
from worker.contract.fleet import RqFleet
from worker.contract.jobs import JobStatus
from worker.contract.queue import QUEUE_NAME, JobQueue, set_progress
from worker.lines import Line

REGISTRY = f"rq:wip:{QUEUE_NAME}"


def line(valkey: Redis) -> Line:
    return Line(QUEUE_NAME, connection=valkey, job_class=BatchJob, serializer=JSONSerializer)


def let_leases_lapse(valkey: Redis) -> None:
    entries: list[Any] = valkey.zrange(REGISTRY, 0, -1)
    for entry in entries:
        valkey.zadd(REGISTRY, {entry: 1.0})


def never() -> None:
    raise AssertionError("no job is lost here")


def test_a_job_that_ends_while_its_lapsed_lease_is_noticed_stays_as_it_ended(
    valkey: Redis, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.submit(sample_job("a"))
    worker = HandCrankedWorker(valkey)
    worker.start("a")
    let_leases_lapse(valkey)
    fetch = BatchJob.fetch.__func__  # type: ignore[attr-defined]

    def fetch_and_dawdle(cls: type[BatchJob], /, *arguments: object, **named: object) -> BatchJob:
        job = fetch(cls, *arguments, **named)
        monkeypatch.undo()
        worker.succeed("a", sample_result())
        assert isinstance(job, BatchJob)
        return job

    monkeypatch.setattr(BatchJob, "fetch", classmethod(fetch_and_dawdle))
    give_back_abandoned(line(valkey), never)
    worker.close()
    assert status(queue, "a") is JobStatus.SUCCEEDED
    assert queue.waiting() == 0


def test_an_abandoned_job_goes_back_into_its_line(valkey: Redis, queue: JobQueue) -> None:
    queue.submit(sample_job("a"))
    worker = HandCrankedWorker(valkey)
    worker.start("a")
    give_back_abandoned(line(valkey), never)
    assert status(queue, "a") is JobStatus.PROCESSING  # its lease holds
    let_leases_lapse(valkey)
    give_back_abandoned(line(valkey), never)
    assert (status(queue, "a"), queue.waiting(), valkey.zcard(REGISTRY)) == (JobStatus.QUEUED, 1, 0)
    worker.close()


def test_nonsense_among_the_leases_is_dropped(valkey: Redis, queue: JobQueue) -> None:
    valkey.set("rq:job:odd", "x")
    valkey.zadd(REGISTRY, {b"\xff:\xff": 1.0, b"odd:1": 1.0, b"gone:1": 1.0})
    give_back_abandoned(line(valkey), never)
    assert valkey.zcard(REGISTRY) == 0


def test_a_worker_that_redis_forgot_is_seen_again(
    valkey: Redis, queue: JobQueue, processor: GatedProcessor
) -> None:
    with running_worker(valkey, processor) as worker:
        eventually(lambda: RqFleet(valkey).live_workers())
        valkey.flushall()
        eventually(lambda: [w.name for w in RqFleet(valkey).live_workers()] == [worker.name])
        queue.submit(sample_job("a"))
        eventually(lambda: processor.running == {"a"})


def test_a_worker_lets_go_of_a_job_that_another_one_has(
    valkey: Redis, queue: JobQueue, processor: GatedProcessor
) -> None:
    queue.submit(sample_job("a"))
    with running_worker(valkey, processor) as worker:
        eventually(lambda: "a" in processor.running)
        valkey.hset(Job.key_for("a"), "worker_name", "another")
        eventually(lambda: not processor.running)  # without an order: it was told to stop
        set_progress(valkey, "a", worker.name, 0.75)
        record = queue.find("a")
        assert record is not None
        assert (record.status, record.progress) == (JobStatus.PROCESSING, 0.0)
        set_progress(valkey, "a", "another", 0.75)
        record = queue.find("a")
        assert record is not None
        assert record.progress == 0.75
