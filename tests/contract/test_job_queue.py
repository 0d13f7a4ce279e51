"""Both job queues through one suite: the dictionary, and RQ on a real Valkey with our worker on it."""

from collections.abc import Iterator

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from tests.eventually import eventually
from tests.gated_processor import GatedProcessor, running_worker
from worker.contract.fleet import RqFleet
from worker.contract.jobs import JobFailure, JobResult, JobStatus
from worker.contract.queue import JobQueue, QueueUnavailableError, RqJobQueue
from worker.contract.testing import InMemoryJobQueue, JobQueueSuite, WorkerSide, sample_job


class TestInMemoryJobQueue(JobQueueSuite):
    @pytest.fixture
    def queue(self) -> InMemoryJobQueue:
        return InMemoryJobQueue()

    @pytest.fixture
    def worker_side(self, queue: InMemoryJobQueue) -> WorkerSide:
        return queue


class RealWorkerSide:
    """Lets a real worker take jobs from the first `start` on, and waits until the queue shows what was done."""

    def __init__(self, queue: RqJobQueue, redis: Redis) -> None:
        self._queue = queue
        self._redis = redis
        self._processor = GatedProcessor()
        self._worker = running_worker(redis, self._processor)
        self._entered = False

    def start(self, job_id: str) -> None:
        if not self._entered:
            self._worker.__enter__()
            self._entered = True
        eventually(lambda: job_id in self._processor.running)

    def report(self, job_id: str, progress: float) -> None:
        self._processor.orders[job_id].put(("report", progress))
        eventually(lambda: (record := self._queue.find(job_id)) is not None and record.progress == progress)

    def succeed(self, job_id: str, result: JobResult) -> None:
        self._processor.orders[job_id].put(("succeed", result))
        self._until_ended(job_id)

    def fail(self, job_id: str, failure: JobFailure) -> None:
        self._processor.orders[job_id].put(("fail", failure))
        self._until_ended(job_id)

    def _until_ended(self, job_id: str) -> None:
        eventually(lambda: (record := self._queue.find(job_id)) is not None and record.status.final)

    def close(self) -> None:
        if self._entered:
            self._worker.__exit__(None, None, None)


class TestRqJobQueue(JobQueueSuite):
    @pytest.fixture
    def queue(self, valkey: Redis) -> RqJobQueue:
        return RqJobQueue(valkey, job_timeout_s=60, retention_s=600)

    @pytest.fixture
    def worker_side(self, queue: RqJobQueue, valkey: Redis) -> Iterator[WorkerSide]:
        side = RealWorkerSide(queue, valkey)
        yield side
        side.close()

    def test_a_canceled_job_is_never_taken(self, queue: JobQueue, worker_side: WorkerSide) -> None:
        queue.submit(sample_job("a"))
        queue.submit(sample_job("b"))
        queue.cancel("a")
        worker_side.start("b")
        record = queue.find("a")
        assert record is not None
        assert (record.status, record.started_at) == (JobStatus.CANCELED, None)

    def test_what_is_not_ours_is_none(self, queue: JobQueue, valkey: Redis) -> None:
        Queue("upscale", connection=valkey, serializer=JSONSerializer).enqueue(
            "os.system", "true", job_id="evil"
        )
        Queue("upscale", connection=valkey).enqueue("os.system", "true", job_id="pickled")
        assert queue.find("evil") is None
        assert queue.find("pickled") is None

    def test_a_job_that_a_worker_still_has_is_not_torn_from_it(
        self, queue: JobQueue, worker_side: WorkerSide, valkey: Redis
    ) -> None:
        queue.submit(sample_job("a"))
        worker_side.start("a")
        queue.cancel("a")
        queue.forget("a")
        eventually(lambda: Job.fetch("a", valkey, JSONSerializer).is_stopped)
        assert valkey.ttl(Job.key_for("a")) > 0
        queue.forget("a")
        assert queue.find("a") is None
        assert not valkey.exists(Job.key_for("a"))


def test_an_absent_server_is_said_so() -> None:
    nowhere = Redis(unix_socket_path="/nonexistent/valkey.sock", retry=Retry(NoBackoff(), 0))
    queue = RqJobQueue(nowhere, job_timeout_s=60, retention_s=600)
    with pytest.raises(QueueUnavailableError):
        queue.submit(sample_job("a"))
    with pytest.raises(QueueUnavailableError):
        queue.find("a")
    with pytest.raises(QueueUnavailableError):
        queue.ping()
    with pytest.raises(QueueUnavailableError):
        RqFleet(nowhere).live_workers()
