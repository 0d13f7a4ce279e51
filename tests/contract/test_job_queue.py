"""The queue of jobs on a real Valkey, with our worker on its other side."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue
from rq.job import Job
from rq.registry import FinishedJobRegistry
from rq.serializers import JSONSerializer

from tests.hand_cranked_worker import HandCrankedWorker
from tests.samples import sample_job, sample_result
from worker.contract.backlog import Backlog
from worker.contract.fields import Field
from worker.contract.fleet import RqFleet
from worker.contract.jobs import JobFailure, JobStatus, Priority
from worker.contract.queue import JobQueue, QueueUnavailableError, prune_lists


@pytest.fixture
def worker(valkey: Redis) -> Iterator[HandCrankedWorker]:
    worker = HandCrankedWorker(valkey)
    yield worker
    worker.close()


def test_a_submitted_job_waits(queue: JobQueue) -> None:
    job = sample_job("a")
    queue.submit(job)
    record = queue.find("a")
    assert record is not None
    assert (record.job, record.status, record.progress) == (job, JobStatus.QUEUED, 0.0)
    assert queue.waiting() == 1


def test_an_unknown_job_is_none(queue: JobQueue) -> None:
    assert queue.find("nobody") is None
    assert queue.find("../../etc:passwd *") is None
    queue.cancel("nobody")
    queue.forget("nobody")
    assert queue.find("nobody") is None


def test_a_job_can_be_found_by_a_name_of_its_callers(queue: JobQueue, valkey: Redis) -> None:
    queue.submit(sample_job("a"), "a name")
    assert valkey.get("a name") == b"a"
    assert 0 < valkey.ttl("a name") <= 2 * 600


def test_a_job_runs_and_succeeds(queue: JobQueue, worker: HandCrankedWorker) -> None:
    queue.submit(sample_job("a"))
    worker.start("a")
    worker.report("a", 0.5)
    running = queue.find("a")
    assert running is not None
    assert (running.status, running.progress) == (JobStatus.PROCESSING, 0.5)
    assert running.started_at is not None
    assert running.started_at >= running.job.created_at - 1.0
    worker.succeed("a", sample_result())
    done = queue.find("a")
    assert done is not None
    assert (done.status, done.progress, done.result) == (JobStatus.SUCCEEDED, 1.0, sample_result())
    assert done.ended_at is not None
    assert done.ended_at >= running.started_at


def test_a_failure_crosses_as_data(queue: JobQueue, worker: HandCrankedWorker) -> None:
    failure = JobFailure("picture_damaged", "The picture is cut off.", retryable=False)
    queue.submit(sample_job("a"))
    worker.start("a")
    worker.fail("a", failure)
    record = queue.find("a")
    assert record is not None
    assert (record.status, record.failure, record.result) == (JobStatus.FAILED, failure, None)


def test_a_waiting_job_is_canceled_for_good(queue: JobQueue) -> None:
    queue.submit(sample_job("a"))
    queue.submit(sample_job("b"))
    queue.cancel("a")
    queue.cancel("a")
    record = queue.find("a")
    assert record is not None
    assert record.status is JobStatus.CANCELED
    assert queue.waiting() == 1


def test_a_running_job_is_seen_canceled_at_once(queue: JobQueue, worker: HandCrankedWorker) -> None:
    queue.submit(sample_job("a"))
    worker.start("a")
    queue.cancel("a")
    record = queue.find("a")
    assert record is not None
    assert record.status is JobStatus.CANCELED


def test_an_ended_job_is_not_canceled(queue: JobQueue, worker: HandCrankedWorker) -> None:
    queue.submit(sample_job("a"))
    worker.start("a")
    worker.succeed("a", sample_result())
    queue.cancel("a")
    record = queue.find("a")
    assert record is not None
    assert record.status is JobStatus.SUCCEEDED


def test_a_forgotten_job_is_gone(queue: JobQueue, worker: HandCrankedWorker) -> None:
    queue.submit(sample_job("a"))
    worker.start("a")
    worker.succeed("a", sample_result())
    queue.forget("a")
    assert queue.find("a") is None


def test_each_priority_waits_in_a_line_of_its_own(queue: JobQueue, worker: HandCrankedWorker) -> None:
    for job_id, priority in (("a", Priority.BULK), ("b", Priority.INTERACTIVE), ("c", Priority.BULK)):
        queue.submit(replace(sample_job(job_id), priority=priority, created_at=time.time() - 2))
    standing = queue.statistics()
    assert standing.waiting == {Priority.INTERACTIVE: 1, Priority.BULK: 2}
    assert set(standing.oldest_waiting_s) == set(Priority)
    assert all(0.0 <= age_s < 60.0 for age_s in standing.oldest_waiting_s.values())
    assert standing.processing == 0
    assert queue.waiting() == 3
    for job_id in "abc":
        worker.start(job_id)
    standing = queue.statistics()
    assert (sum(standing.waiting.values()), standing.oldest_waiting_s) == (0, {})
    assert standing.processing == 3
    found = queue.find("a")
    assert found is not None
    assert found.job.priority is Priority.BULK
    worker.succeed("a", sample_result())
    queue.forget("a")
    assert queue.find("a") is None


def test_a_job_that_waits_has_a_place(queue: JobQueue, worker: HandCrankedWorker) -> None:
    for job_id, priority in (("a", Priority.BULK), ("b", Priority.INTERACTIVE), ("c", Priority.INTERACTIVE)):
        job = replace(sample_job(job_id), priority=priority, ensemble=job_id == "c")
        queue.submit(replace(job, parameters=950_000))
    assert queue.place("b") == Backlog(1, 40 * 30, 1200)
    assert queue.place("c") == Backlog(2, 40 * 30 * 9, 1200 * 9)
    assert queue.place("a") == Backlog(3, 40 * 30 * 10, 1200 * 10)
    assert queue.statistics().backlog == queue.place("a")
    worker.start("b")
    assert queue.place("b") is None
    assert queue.place("c") == Backlog(1, 40 * 30 * 8, 1200 * 9)
    worker.report("b", 0.75)
    assert queue.place("c") == Backlog(1, 40 * 30 * 8, 1200 * 8.25)
    assert queue.place("nobody") is None
    worker.succeed("b", sample_result())
    assert queue.statistics().backlog == Backlog(2, 40 * 30 * 9, 1200 * 9)


def test_waiting_jobs_are_counted_by_owner(queue: JobQueue, worker: HandCrankedWorker, valkey: Redis) -> None:
    for job_id, owner, priority in (
        ("a", "me", Priority.INTERACTIVE),
        ("b", "them", Priority.INTERACTIVE),
        ("c", "me", Priority.BULK),
        ("d", "", Priority.BULK),
    ):
        queue.submit(replace(sample_job(job_id), owner=owner, priority=priority))
    assert [queue.waiting_of(owner) for owner in ("me", "them", "", "nobody")] == [2, 1, 1, 0]
    worker.start("a")
    queue.cancel("c")
    assert [queue.waiting_of(owner) for owner in ("me", "them", "")] == [0, 1, 1]
    valkey.hdel(Job.key_for("b"), Field.OWNER)  # as a gateway before this one queued it
    assert [queue.waiting_of(owner) for owner in ("them", "")] == [0, 2]


def test_a_result_that_is_there_is_a_job_that_is_done(queue: JobQueue, valkey: Redis) -> None:
    queue.submit_done(sample_job("a"), replace(sample_result(), repeated=True))
    record = queue.find("a")
    assert record is not None
    assert (record.job.id, record.status, record.progress) == ("a", JobStatus.SUCCEEDED, 1.0)
    assert record.result == replace(sample_result(), repeated=True)
    assert record.started_at == record.ended_at
    assert queue.waiting() == 0
    assert 0 < valkey.ttl(Job.key_for("a")) <= 1200
    queue.forget("a")
    assert queue.find("a") is None
    assert valkey.keys("rq:*:a") == []
    assert not valkey.zcard(FinishedJobRegistry("upscale", connection=valkey).key)


def test_an_owners_jobs_are_listed_from_the_newest(queue: JobQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.contract.queue.PAGE_JOBS", 3)
    moments_s = {f"j{n}": 1_800_000_000.0 + n // 2 for n in range(10)}  # two of each moment
    for job_id, created_at in moments_s.items():
        queue.submit(replace(sample_job(job_id), created_at=created_at, owner="me"))
    queue.submit(replace(sample_job("theirs"), owner="them"))
    queue.forget("j5")
    listed = list(queue.jobs_of("me"))
    assert [record.job.id for _, record in listed] == ["j9", "j8", "j7", "j6", "j4", "j3", "j2", "j1", "j0"]
    for n, (cursor, _) in enumerate(listed):
        rest = [record.job.id for _, record in queue.jobs_of("me", before=cursor)]
        assert rest == [record.job.id for _, record in listed[n + 1 :]]
    assert [record.job.id for _, record in queue.jobs_of("them")] == ["theirs"]
    assert list(queue.jobs_of("")) == []


def test_lists_are_pruned_of_what_is_forgotten(queue: JobQueue, valkey: Redis) -> None:
    for n, job_id in enumerate(("a", "b", "c")):
        queue.submit(replace(sample_job(job_id), created_at=1000.0 + n, owner="me"))
    queue.forget("a")
    queue.forget("c")
    prune_lists(valkey, 1001.5)
    assert valkey.zrange("enlarger:jobs:me", 0, -1) == [b"b", b"c"]


def test_the_queue_answers(queue: JobQueue) -> None:
    queue.ping()
    assert queue.waiting() == 0


def test_a_canceled_job_is_never_taken(queue: JobQueue, worker: HandCrankedWorker) -> None:
    queue.submit(sample_job("a"))
    queue.submit(sample_job("b"))
    queue.cancel("a")
    worker.start("b")
    record = queue.find("a")
    assert record is not None
    assert (record.status, record.started_at) == (JobStatus.CANCELED, None)


def test_what_is_not_ours_is_none(queue: JobQueue, valkey: Redis) -> None:
    Queue("upscale", connection=valkey, serializer=JSONSerializer).enqueue("os.system", "true", job_id="evil")
    Queue("upscale", connection=valkey).enqueue("os.system", "true", job_id="pickled")
    assert queue.find("evil") is None
    assert queue.find("pickled") is None


def test_a_job_that_a_worker_still_has_is_not_torn_from_it(
    queue: JobQueue, worker: HandCrankedWorker, valkey: Redis
) -> None:
    queue.submit(sample_job("a"))
    worker.start("a")
    queue.cancel("a")
    queue.forget("a")
    worker.let_go("a")
    assert Job.fetch("a", valkey, JSONSerializer).is_stopped
    assert valkey.ttl(Job.key_for("a")) > 0
    queue.forget("a")
    assert queue.find("a") is None
    assert not valkey.exists(Job.key_for("a"))


def test_an_absent_server_is_said_so() -> None:
    nowhere = Redis(unix_socket_path="/nonexistent/valkey.sock", retry=Retry(NoBackoff(), 0))
    queue = JobQueue(nowhere, job_timeout_s=60, retention_s=600)
    with pytest.raises(QueueUnavailableError):
        queue.submit(sample_job("a"))
    with pytest.raises(QueueUnavailableError):
        queue.find("a")
    with pytest.raises(QueueUnavailableError):
        queue.ping()
    with pytest.raises(QueueUnavailableError):
        RqFleet(nowhere).live_workers()
