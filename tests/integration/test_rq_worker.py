"""Our worker on a real Valkey: several jobs in flight, each ended as it should, RQ's records true."""

import pytest
from redis import Redis
from rq import Queue
from rq.command import send_stop_job_command
from rq.job import Job
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.serializers import JSONSerializer

from tests.eventually import eventually
from tests.gated_processor import GatedProcessor, running_worker
from worker.contract.fleet import RqFleet
from worker.contract.jobs import JobFailure, JobStatus, UpscaleJob
from worker.contract.queue import MAX_ATTEMPTS, QUEUE_NAME, RqJobQueue
from worker.contract.testing import sample_job, sample_result
from worker.rq_worker import bytes_in_flight


@pytest.fixture
def queue(valkey: Redis) -> RqJobQueue:
    return RqJobQueue(valkey, job_timeout_s=60, retention_s=600)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.rq_worker.RETRY_PAUSE_S", 0.05)


@pytest.fixture
def processor() -> GatedProcessor:
    return GatedProcessor()


def status(queue: RqJobQueue, job_id: str) -> JobStatus | None:
    record = queue.find(job_id)
    return record.status if record else None


def submit(queue: RqJobQueue, *job_ids: str) -> list[UpscaleJob]:
    jobs = [sample_job(job_id) for job_id in job_ids]
    for job in jobs:
        queue.submit(job)
    return jobs


def test_jobs_run_side_by_side_up_to_the_limit(
    valkey: Redis, queue: RqJobQueue, processor: GatedProcessor
) -> None:
    submit(queue, "a", "b", "c", "d")
    with running_worker(valkey, processor, max_jobs_in_flight=3) as worker:
        eventually(lambda: processor.running == {"a", "b", "c"})
        started = StartedJobRegistry(QUEUE_NAME, connection=valkey, serializer=JSONSerializer)
        assert started.get_job_count(cleanup=False) == 3
        assert queue.waiting() == 1
        assert [w.name for w in RqFleet(valkey).live_workers()] == [worker.name]
        processor.orders["b"].put(("succeed", sample_result()))
        eventually(lambda: "d" in processor.running)
        assert status(queue, "b") is JobStatus.SUCCEEDED
        for job_id in ("a", "c", "d"):
            processor.orders[job_id].put(("succeed", sample_result()))
        eventually(lambda: all(status(queue, j) is JobStatus.SUCCEEDED for j in ("a", "c", "d")))
        eventually(lambda: started.get_job_count(cleanup=False) == 0)
        assert valkey.llen(f"rq:queue:{QUEUE_NAME}:intermediate") == 0
    assert RqFleet(valkey).live_workers() == []


def test_one_of_four_is_stopped_and_the_others_go_on(
    valkey: Redis, queue: RqJobQueue, processor: GatedProcessor
) -> None:
    submit(queue, "a", "b", "c", "d")
    with running_worker(valkey, processor):
        eventually(lambda: len(processor.running) == 4)
        queue.cancel("c")
        eventually(lambda: "c" not in processor.running)
        eventually(lambda: Job.fetch("c", valkey, JSONSerializer).is_stopped)
        assert status(queue, "c") is JobStatus.CANCELED
        assert processor.erased == ["c"]
        assert processor.running == {"a", "b", "d"}


def test_rqs_own_stop_command_works_on_any_job_in_flight(
    valkey: Redis, queue: RqJobQueue, processor: GatedProcessor
) -> None:
    submit(queue, "a", "b")
    with running_worker(valkey, processor):
        eventually(lambda: len(processor.running) == 2)
        send_stop_job_command(valkey, "b", serializer=JSONSerializer)
        eventually(lambda: status(queue, "b") is JobStatus.CANCELED)


def test_a_second_entry_for_a_job_does_not_run_it_twice(
    valkey: Redis, queue: RqJobQueue, processor: GatedProcessor
) -> None:
    submit(queue, "a", "b")
    for job_id in ("a", "b", "a"):
        Queue(QUEUE_NAME, connection=valkey).push_job_id(job_id)
    with running_worker(valkey, processor), running_worker(valkey, processor):
        eventually(lambda: queue.waiting() == 0 and len(processor.running) == 2)
        for job_id in ("a", "b"):
            processor.orders[job_id].put(("succeed", sample_result()))
        eventually(lambda: all(status(queue, j) is JobStatus.SUCCEEDED for j in ("a", "b")))
    assert sorted(processor.started) == ["a", "b"]


def test_a_final_failure_is_not_tried_again(
    valkey: Redis, queue: RqJobQueue, processor: GatedProcessor
) -> None:
    submit(queue, "a")
    failure = JobFailure("picture_damaged", "The picture is cut off.", retryable=False)
    processor.orders["a"].put(("fail", failure))
    with running_worker(valkey, processor):
        eventually(lambda: status(queue, "a") is JobStatus.FAILED)
    record = queue.find("a")
    assert record is not None
    assert record.failure == failure
    assert processor.started == ["a"]
    assert FailedJobRegistry(QUEUE_NAME, connection=valkey).get_job_ids(cleanup=False) == ["a"]


def test_a_passing_failure_is_tried_again_and_alone(
    valkey: Redis, queue: RqJobQueue, processor: GatedProcessor
) -> None:
    submit(queue, "a", "b")
    passing = JobFailure("storage_unavailable", "The blob store did not answer.", retryable=True)
    processor.orders["a"].put(("fail", passing))
    with running_worker(valkey, processor):
        eventually(lambda: processor.started == ["a", "b"] and processor.running == {"b"})
        eventually(lambda: queue.waiting() == 1)
        assert status(queue, "a") is JobStatus.QUEUED
        processor.orders["b"].put(("succeed", sample_result()))
        eventually(lambda: processor.running == {"a"})
        submit(queue, "c")
        processor.orders["a"].put(("report", 0.5))
        eventually(lambda: (record := queue.find("a")) is not None and record.progress == 0.5)
        assert processor.running == {"a"}
        processor.orders["a"].put(("succeed", sample_result()))
        eventually(lambda: processor.running == {"c"})
    assert status(queue, "a") is JobStatus.SUCCEEDED


def test_a_failure_that_does_not_pass_ends_after_the_last_attempt(
    valkey: Redis, queue: RqJobQueue, processor: GatedProcessor
) -> None:
    submit(queue, "a")
    passing = JobFailure("storage_unavailable", "The blob store did not answer.", retryable=True)
    for _ in range(MAX_ATTEMPTS):
        processor.orders["a"].put(("fail", passing))
    with running_worker(valkey, processor):
        eventually(lambda: status(queue, "a") is JobStatus.FAILED)
    assert processor.started == ["a"] * MAX_ATTEMPTS
    record = queue.find("a")
    assert record is not None
    assert record.failure == passing


def test_jobs_that_do_not_fit_together_run_one_after_the_other(
    valkey: Redis, queue: RqJobQueue, processor: GatedProcessor
) -> None:
    job, _ = submit(queue, "a", "b")
    with running_worker(valkey, processor, max_bytes_in_flight=bytes_in_flight(job) * 3 // 2):
        eventually(lambda: processor.running == {"a"} and queue.waiting() == 1)
        processor.orders["a"].put(("succeed", sample_result()))
        eventually(lambda: processor.running == {"b"})


def test_a_canceled_job_of_a_dead_worker_leaves_nothing_for_ever(
    valkey: Redis, queue: RqJobQueue, processor: GatedProcessor
) -> None:
    submit(queue, "a")
    # As a worker that dies leaves it: started, marked, and queued again by RQ's clean-up.
    job = Job.fetch("a", valkey, JSONSerializer)
    valkey.hset(job.key, mapping={"status": "started", "worker_name": "the dead one"})
    queue.cancel("a")
    valkey.hset(job.key, "status", "queued")
    with running_worker(valkey, processor):
        eventually(lambda: Job.fetch("a", valkey, JSONSerializer).is_canceled)
        eventually(lambda: processor.erased == ["a"])
    assert 0 < valkey.ttl(job.key) <= 600
    assert processor.started == []
    assert status(queue, "a") is JobStatus.CANCELED
    assert not valkey.exists(f"rq:canceled:{QUEUE_NAME}")


def test_what_was_canceled_stays_canceled_though_it_was_done(
    valkey: Redis, queue: RqJobQueue, processor: GatedProcessor
) -> None:
    submit(queue, "a")
    with running_worker(valkey, processor):
        eventually(lambda: "a" in processor.running)
        valkey.hset(Job.key_for("a"), "enlarger_cancel", "1")  # the mark alone; the stop message was lost
        processor.orders["a"].put(("succeed", sample_result()))
        eventually(lambda: processor.erased == ["a"])
        eventually(lambda: Job.fetch("a", valkey, JSONSerializer).is_stopped)
    record = queue.find("a")
    assert record is not None
    assert (record.status, record.result) == (JobStatus.CANCELED, None)


def test_a_worker_that_was_silent_for_too_long_records_nothing(
    valkey: Redis, queue: RqJobQueue, processor: GatedProcessor
) -> None:
    submit(queue, "taken", "deleted")
    with running_worker(valkey, processor):
        eventually(lambda: len(processor.running) == 2)
        valkey.hset(Job.key_for("taken"), "worker_name", "another")
        valkey.delete(Job.key_for("deleted"))
        for job_id in ("taken", "deleted"):
            processor.orders[job_id].put(("succeed", sample_result()))
        eventually(lambda: processor.erased == ["deleted"] and not processor.running)
    assert status(queue, "taken") is JobStatus.PROCESSING
    assert not valkey.exists(Job.key_for("deleted"))


def test_a_job_that_died_with_a_worker_can_be_forgotten(valkey: Redis, queue: RqJobQueue) -> None:
    submit(queue, "a")
    # The record of the first attempt has expired with its lease; the list of attempts lives longer.
    valkey.zadd("rq:executions:a", {"gone": 2e9})
    queue.cancel("a")
    queue.forget("a")
    assert valkey.keys("rq:*a*") == []


def test_jobs_of_the_wrong_shape_take_nobody_along(
    valkey: Redis, queue: RqJobQueue, processor: GatedProcessor
) -> None:
    good, odd = sample_job("good"), sample_job("odd").to_json()
    rq_queue = Queue(QUEUE_NAME, connection=valkey, serializer=JSONSerializer)
    queue.submit(good)
    odd["input"] |= {"width_px": "abc", "height_px": None}
    rq_queue.enqueue("worker.upscale", job=odd, job_id="odd")
    with running_worker(valkey, processor):
        eventually(lambda: Job.fetch("odd", valkey, JSONSerializer).is_failed)
        assert processor.running == {"good"}
    assert queue.find("odd") is None


def test_a_foreign_function_is_refused_unimported(
    valkey: Redis, queue: RqJobQueue, processor: GatedProcessor, capfd: pytest.CaptureFixture[str]
) -> None:
    rq_queue = Queue(QUEUE_NAME, connection=valkey, serializer=JSONSerializer)
    rq_queue.enqueue("os.system", "echo pwned", job_id="evil")
    rq_queue.enqueue("worker.upscale", job={"schema_version": 99}, job_id="future")
    Queue(QUEUE_NAME, connection=valkey).enqueue("os.system", "echo pwned", job_id="pickled")
    submit(queue, "a")
    processor.orders["a"].put(("succeed", sample_result()))
    with running_worker(valkey, processor):
        eventually(lambda: status(queue, "a") is JobStatus.SUCCEEDED)
        for job_id in ("evil", "future", "pickled"):
            assert Job.fetch(job_id, valkey, JSONSerializer).is_failed
    assert processor.started == ["a"]
    assert "pwned" not in capfd.readouterr().out
