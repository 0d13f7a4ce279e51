"""Our worker without its loop: a test takes each of its steps, and sees what the queue says after it."""

from redis import Redis
from rq.serializers import JSONSerializer

from tests.eventually import eventually
from tests.gated_processor import GatedProcessor
from worker.batch_job import BatchJob
from worker.contract.jobs import JobFailure, JobResult
from worker.lines import Line
from worker.rq_worker import BatchWorker


class HandCrankedWorker:
    """Takes, reports and ends jobs when told to."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._processor = GatedProcessor()
        self._worker = BatchWorker(
            redis,
            self._processor,
            max_jobs_in_flight=8,
            max_bytes_in_flight=1 << 30,
            lease_s=16,
            retention_s=600,
        )

    def start(self, job_id: str) -> None:
        """Take the job and hold it."""
        job = BatchJob.fetch(job_id, self._redis, JSONSerializer)
        line = Line(job.origin, connection=self._redis, serializer=JSONSerializer)
        assert self._redis.lrem(line.key, 1, job_id), "the job does not wait"
        self._worker._admit(job, line)
        eventually(lambda: job_id in self._processor.running)

    def report(self, job_id: str, progress: float) -> None:
        """Say how far the job is."""
        flight = self._worker._flights[job_id]
        flight.progress.note(progress)
        flight.published_s = 0.0
        self._worker._publish_progress()

    def succeed(self, job_id: str, result: JobResult) -> None:
        """End the job well."""
        self._end(job_id, ("succeed", result))

    def fail(self, job_id: str, failure: JobFailure) -> None:
        """End the job badly, not to be tried again."""
        self._end(job_id, ("fail", failure))

    def let_go(self, job_id: str) -> None:
        """Notice that the job was canceled, and end it."""
        self._worker._beat()
        self._until_ended(job_id)

    def close(self) -> None:
        """Let go of every job."""
        self._processor.open_gates()
        self._worker._threads.shutdown()

    def _end(self, job_id: str, order: tuple[str, JobResult | JobFailure]) -> None:
        if job_id not in self._worker._flights:
            self.start(job_id)
        self._processor.orders[job_id].put(order)
        self._until_ended(job_id)

    def _until_ended(self, job_id: str) -> None:
        def ended() -> bool:
            self._worker._end_one()
            return job_id not in self._worker._flights

        eventually(ended)
