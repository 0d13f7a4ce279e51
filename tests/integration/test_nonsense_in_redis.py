"""What others write into our Redis: dropped or failed, with a line in the log, while good jobs go on."""

import pytest
from redis import Redis
from redis.exceptions import ResponseError
from rq import Callback, Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from tests.eventually import eventually
from tests.gated_processor import GatedProcessor, running_worker
from tests.job_status import status
from tests.samples import sample_job, sample_result
from worker.contract.jobs import JobStatus
from worker.contract.queue import QUEUE_NAME, JobQueue, QueueUnavailableError

LINE = f"rq:queue:{QUEUE_NAME}"


def line_up_nonsense(valkey: Redis, queue: JobQueue) -> None:
    valkey.rpush(LINE, b"\xff\xfe")  # no text
    valkey.set("rq:job:a-string", "x")
    valkey.rpush(LINE, "a-string")
    valkey.hset("rq:job:half", mapping={"status": "queued", "data": b"\x00no json"})
    valkey.rpush(LINE, "half")
    queue.submit(sample_job("miscounted"))
    valkey.hset("rq:job:miscounted", "enlarger_attempts", "many")


@pytest.mark.parametrize("busy", [False, True])
def test_nonsense_in_a_line_holds_up_nobody(
    valkey: Redis, queue: JobQueue, processor: GatedProcessor, busy: bool
) -> None:
    if busy:
        queue.submit(sample_job("first"))
    else:
        line_up_nonsense(valkey, queue)
    with running_worker(valkey, processor):
        if busy:
            eventually(lambda: "first" in processor.running)
            line_up_nonsense(valkey, queue)
        queue.submit(sample_job("good"))
        if busy:
            processor.orders["first"].put(("succeed", sample_result()))
        for job_id in ("miscounted", "good"):
            processor.orders[job_id].put(("succeed", sample_result()))
        eventually(lambda: status(queue, "good") is JobStatus.SUCCEEDED)
        eventually(lambda: valkey.llen(LINE) == 0 and valkey.llen(f"{LINE}:intermediate") == 0)


def test_a_job_under_anothers_id_is_refused(
    valkey: Redis, queue: JobQueue, processor: GatedProcessor
) -> None:
    """Its pictures are those of the id that it claims: it would overwrite or erase them."""
    Queue(QUEUE_NAME, connection=valkey, serializer=JSONSerializer).enqueue(
        "worker.upscale", job=sample_job("victim").to_json(), job_id="thief"
    )
    with running_worker(valkey, processor):
        eventually(lambda: Job.fetch("thief", valkey, JSONSerializer).is_failed)
    assert processor.started == []
    assert processor.erased == processor.inputs_erased == []


def test_nothing_that_a_job_names_is_called(
    valkey: Redis, queue: JobQueue, processor: GatedProcessor, capfd: pytest.CaptureFixture[str]
) -> None:
    for job_id, order in (("a", "succeed"), ("b", "fail")):
        Queue(QUEUE_NAME, connection=valkey, serializer=JSONSerializer).enqueue(
            "worker.upscale",
            job=sample_job(job_id).to_json(),
            job_id=job_id,
            on_success=Callback("builtins.print"),
            on_failure=Callback("builtins.print"),
        )
        if order == "succeed":
            processor.orders[job_id].put(("succeed", sample_result()))
    with running_worker(valkey, processor):
        eventually(lambda: status(queue, "a") is JobStatus.SUCCEEDED)
        eventually(lambda: processor.running == {"b"})
    # Leaving the worker ends `b` as failed.
    assert status(queue, "b") is JobStatus.FAILED
    assert "Job" not in capfd.readouterr().out


def test_a_record_of_another_type_is_dropped_and_not_tried_for_ever(
    valkey: Redis, queue: JobQueue, processor: GatedProcessor
) -> None:
    queue.submit(sample_job("spoilt"))
    with running_worker(valkey, processor):
        eventually(lambda: "spoilt" in processor.running)
        valkey.delete("rq:job:spoilt")
        valkey.set("rq:job:spoilt", "x")
        processor.orders["spoilt"].put(("succeed", sample_result()))
        eventually(lambda: not processor.running)
        queue.submit(sample_job("good"))
        processor.orders["good"].put(("succeed", sample_result()))
        eventually(lambda: status(queue, "good") is JobStatus.SUCCEEDED)


def test_a_full_redis_costs_no_job(valkey: Redis, queue: JobQueue, processor: GatedProcessor) -> None:
    queue.submit(sample_job("a"))
    with running_worker(valkey, processor):
        eventually(lambda: "a" in processor.running)
        valkey.config_set("maxmemory-policy", "noeviction")
        valkey.config_set("maxmemory", "1")
        try:
            with pytest.raises(ResponseError):
                valkey.set("is it", "full")
            with pytest.raises(QueueUnavailableError):
                queue.submit(sample_job("refused"))
            processor.orders["a"].put(("succeed", sample_result()))
            eventually(lambda: not processor.running)
            assert status(queue, "a") is JobStatus.PROCESSING
        finally:
            valkey.config_set("maxmemory", "0")
        eventually(lambda: status(queue, "a") is JobStatus.SUCCEEDED)
    assert processor.started == ["a"]
