"""Our worker on a real Valkey: several jobs in flight, each ended as it should, RQ's records true."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis
from rq import Queue
from rq.command import send_stop_job_command
from rq.job import Job
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.serializers import JSONSerializer

from tests.eventually import eventually
from tests.gated_processor import GatedProcessor, running_worker
from tests.job_status import status
from tests.samples import sample_job, sample_result
from worker.contract.fleet import RqFleet
from worker.contract.jobs import JobFailure, JobStatus, Priority, UpscaleJob
from worker.contract.queue import MAX_ATTEMPTS, QUEUE_NAME, WORKER_LOST, JobQueue
from worker.lines import BULK_EVERY
from worker.memory_budget import bytes_in_flight
from worker.metrics import WorkerMetrics


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.rq_worker.RETRY_PAUSE_S", 0.05)


def submit(queue: JobQueue, *job_ids: str) -> list[UpscaleJob]:
    jobs = [sample_job(job_id) for job_id in job_ids]
    for job in jobs:
        queue.submit(job)
    return jobs


def test_jobs_run_side_by_side_up_to_the_limit(
    valkey: Redis, queue: JobQueue, processor: GatedProcessor
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


def test_a_worker_tells_how_fast_it_works(valkey: Redis, queue: JobQueue, processor: GatedProcessor) -> None:
    submit(queue, "a", "b")
    with running_worker(valkey, processor, lease_s=4):

        def told() -> float | None:
            return RqFleet(valkey).live_workers()[0].mmac_per_s

        eventually(lambda: processor.running == {"a", "b"})
        assert told() is None
        processor.orders["a"].put(("succeed", sample_result()))
        eventually(lambda: (told() or 0.0) > 0.0)
        assert queue.statistics().backlog.work_mmac == pytest.approx(sample_job("b").work_mmac)
        processor.orders["b"].put(("succeed", sample_result()))
        eventually(lambda: queue.statistics().backlog.work_mmac == 0.0)


def test_rq_info_tells_the_truth_during_a_batch(
    valkey: Redis, valkey_url: str, queue: JobQueue, processor: GatedProcessor
) -> None:
    submit(queue, "a", "b", "c")
    queue.submit(replace(sample_job("bulk"), priority=Priority.BULK))

    def info() -> list[str]:
        rq = Path(sys.executable).with_name("rq")
        command = [str(rq), "info", "--url", valkey_url, "--raw"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    assert sorted(info()) == [
        "queue upscale 3, 0 executing, 0 finished, 0 failed",
        "queue upscale-bulk 1, 0 executing, 0 finished, 0 failed",
    ]
    with running_worker(valkey, processor, max_jobs_in_flight=2) as worker:
        eventually(lambda: processor.running == {"a", "b"})
        told = info()
        assert sorted(told[:2]) == [
            "queue upscale 1, 2 executing, 0 finished, 0 failed",
            "queue upscale-bulk 1, 0 executing, 0 finished, 0 failed",
        ]
        assert worker.name in told[2]
        assert "busy" in told[2]
        processor.orders["a"].put(("succeed", sample_result()))
        eventually(lambda: processor.running == {"b", "c"})
        assert "queue upscale 0, 2 executing, 1 finished, 0 failed" in info()


def test_what_is_wrong_with_a_worker_is_seen_by_the_fleet(
    valkey: Redis, queue: JobQueue, processor: GatedProcessor
) -> None:
    faults = ["espcn-x2@2 is damaged; espcn-x2@1 is served instead"]
    with running_worker(valkey, processor, faults=lambda: faults):
        eventually(lambda: [worker.faults for worker in RqFleet(valkey).live_workers()] == [tuple(faults)])
        faults.clear()
        eventually(lambda: [worker.faults for worker in RqFleet(valkey).live_workers()] == [()])


def test_one_of_four_is_stopped_and_the_others_go_on(
    valkey: Redis, queue: JobQueue, processor: GatedProcessor
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
    valkey: Redis, queue: JobQueue, processor: GatedProcessor
) -> None:
    submit(queue, "a", "b")
    with running_worker(valkey, processor):
        eventually(lambda: len(processor.running) == 2)
        send_stop_job_command(valkey, "b", serializer=JSONSerializer)
        eventually(lambda: status(queue, "b") is JobStatus.CANCELED)


def test_a_second_entry_for_a_job_does_not_run_it_twice(
    valkey: Redis, queue: JobQueue, processor: GatedProcessor
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
    valkey: Redis, queue: JobQueue, processor: GatedProcessor
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
    valkey: Redis, queue: JobQueue, processor: GatedProcessor
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
    valkey: Redis, queue: JobQueue, processor: GatedProcessor
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
    valkey: Redis, queue: JobQueue, processor: GatedProcessor
) -> None:
    job, _, _ = submit(queue, "a", "b", "c")
    with running_worker(valkey, processor, max_bytes_in_flight=bytes_in_flight(job) * 5 // 2):
        eventually(lambda: processor.running == {"a", "b"} and queue.waiting() == 1)
        processor.orders["a"].put(("succeed", sample_result()))
        eventually(lambda: processor.running == {"b", "c"})


def test_a_large_job_waits_for_another_and_holds_up_no_small_one(
    valkey: Redis, queue: JobQueue, processor: GatedProcessor
) -> None:
    small = sample_job("small")
    for job_id in ("large", "second-large"):
        queue.submit(replace(small, id=job_id, input=replace(small.input, width_px=4000)))
    submit(queue, "small", "also-small")
    with running_worker(valkey, processor, max_bytes_in_flight=bytes_in_flight(small) * 3):
        eventually(lambda: processor.running == {"large", "small", "also-small"})
        processor.orders["small"].put(("succeed", sample_result()))
        eventually(lambda: status(queue, "small") is JobStatus.SUCCEEDED)
        assert queue.waiting() == 1
        processor.orders["large"].put(("succeed", sample_result()))
        eventually(lambda: processor.running == {"second-large", "also-small"})


def test_an_interactive_job_overtakes_bulk_ones_and_finds_a_place(
    valkey: Redis, queue: JobQueue, processor: GatedProcessor
) -> None:
    for number in range(6):
        queue.submit(replace(sample_job(f"bulk-{number}"), priority=Priority.BULK))
    with running_worker(valkey, processor, max_jobs_in_flight=4):
        eventually(lambda: processor.running == {"bulk-0", "bulk-1"})
        submit(queue, "mine")
        eventually(lambda: "mine" in processor.running)
        assert queue.statistics().waiting[Priority.BULK] == 4


def test_bulk_jobs_do_not_starve(valkey: Redis, queue: JobQueue, processor: GatedProcessor) -> None:
    jobs = [sample_job(str(number)) for number in range(12)]
    for job in jobs:
        queue.submit(job)
        processor.orders[job.id].put(("succeed", sample_result()))
    queue.submit(replace(sample_job("bulk"), priority=Priority.BULK))
    processor.orders["bulk"].put(("succeed", sample_result()))
    with running_worker(valkey, processor, max_jobs_in_flight=1):
        eventually(lambda: status(queue, jobs[-1].id) is JobStatus.SUCCEEDED)
    assert (
        "bulk" in processor.started[: 1 + BULK_EVERY]
    )  # an idle worker takes its first job from the first line


def test_an_idle_worker_takes_a_bulk_job(valkey: Redis, queue: JobQueue, processor: GatedProcessor) -> None:
    with running_worker(valkey, processor):
        eventually(lambda: RqFleet(valkey).live_workers())
        queue.submit(replace(sample_job("bulk"), priority=Priority.BULK))
        eventually(lambda: processor.running == {"bulk"})
        eventually(lambda: valkey.llen(f"rq:queue:{QUEUE_NAME}-bulk:intermediate") == 0)
        registry = StartedJobRegistry(f"{QUEUE_NAME}-bulk", connection=valkey, serializer=JSONSerializer)
        assert registry.get_job_count(cleanup=False) == 1


def test_a_job_that_is_gone_is_no_obstacle(valkey: Redis, queue: JobQueue, processor: GatedProcessor) -> None:
    submit(queue, "gone-too", "a", "gone", "b")
    for job_id in ("gone", "gone-too"):
        valkey.delete(Job.key_for(job_id))
    with running_worker(valkey, processor):
        eventually(lambda: processor.running == {"a", "b"})
        assert queue.waiting() == 0


def test_a_canceled_job_of_a_dead_worker_leaves_nothing_for_ever(
    valkey: Redis, queue: JobQueue, processor: GatedProcessor
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
    assert 0 < valkey.ttl(job.key) <= 1200
    assert processor.started == []
    assert status(queue, "a") is JobStatus.CANCELED
    assert not valkey.exists(f"rq:canceled:{QUEUE_NAME}")


def test_what_was_canceled_stays_canceled_though_it_was_done(
    valkey: Redis, queue: JobQueue, processor: GatedProcessor
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
    valkey: Redis, queue: JobQueue, processor: GatedProcessor
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


def test_a_job_that_died_with_a_worker_can_be_forgotten(valkey: Redis, queue: JobQueue) -> None:
    submit(queue, "a")
    # The record of the first attempt has expired with its lease; the list of attempts lives longer.
    valkey.zadd("rq:executions:a", {"gone": 2e9})
    queue.cancel("a")
    queue.forget("a")
    assert valkey.keys("rq:*a*") == []


def test_a_job_whose_worker_died_at_every_attempt_is_counted(
    valkey: Redis, queue: JobQueue, processor: GatedProcessor
) -> None:
    submit(queue, "a", "b")
    for job_id, retries_left in (("a", 0), ("b", 1)):  # as dead workers leave them, their leases over
        valkey.lrem(f"rq:queue:{QUEUE_NAME}", 1, job_id)
        valkey.hset(Job.key_for(job_id), mapping={"status": "started", "retries_left": retries_left})
        valkey.zadd(f"rq:wip:{QUEUE_NAME}", {f"{job_id}:gone": 1.0})
    metrics = WorkerMetrics()
    with running_worker(valkey, processor, metrics=metrics):
        eventually(lambda: processor.running == {"b"})
        record = queue.find("a")
        assert record is not None
        assert record.failure == WORKER_LOST
        labels = {"state": "failed", "code": WORKER_LOST.code, "model": ""}
        assert metrics.registry.get_sample_value("enlarger_jobs_ended_total", labels) == 1


def test_jobs_of_the_wrong_shape_take_nobody_along(
    valkey: Redis, queue: JobQueue, processor: GatedProcessor
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
    valkey: Redis, queue: JobQueue, processor: GatedProcessor, capfd: pytest.CaptureFixture[str]
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
