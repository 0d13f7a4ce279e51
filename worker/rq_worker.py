"""RQ's worker, made to have many jobs in flight at once. Every override of RQ's stands in this file.

RQ's own `perform_job` still does the bookkeeping of each job (status, result, retries, registries,
expiry); what is different is when: a job is admitted (one transaction turns `queued` into
`started`), processed on other threads beside its fellows, and performed, in RQ's sense, once
its outcome is known. RQ 3 changes these signatures, hence `rq<3`. The file is longer than our others: spread over
several, it would no longer show at a glance what of RQ is changed.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, WatchError
from redis.exceptions import TimeoutError as RedisTimeoutError
from rq import Queue, SimpleWorker
from rq.command import parse_payload
from rq.exceptions import DeserializationError
from rq.executions import Execution
from rq.job import Job
from rq.job import JobStatus as RqStatus
from rq.serializers import JSONSerializer
from rq.timeouts import BaseDeathPenalty
from rq.utils import as_text
from rq.worker import WorkerStatus

from worker.contract.blobs import BlobStoreError
from worker.contract.jobs import JobFailure, JobResult, JobSchemaError, UpscaleJob
from worker.contract.queue import FUNCTION_NAME, QUEUE_NAME, Field, encode_failure, end_canceled, set_field
from worker.errors import CanceledError, JobError, JobRefusedError

logger = logging.getLogger(__name__)

PROGRESS_EVERY_S = 0.25
"""How often a job's progress is published at most."""

POLL_S = 0.005
"""How long the loop waits for an outcome before it looks for another job to admit."""

RETRY_PAUSE_S = 10.0
"""How long no job is taken after one failed for a cause that may pass."""

EXIT_HUNG = 70
"""The exit status of a worker whose forward pass hangs (EX_SOFTWARE of sysexits.h)."""

MAINTENANCE_EVERY_S = 15
"""How often abandoned jobs are looked for; RQ's default of 600 s would leave a dead worker's jobs lying."""


class Processor(Protocol):
    """What makes a job's result; see :class:`worker.processing.JobProcessor`."""

    def process(
        self, job: UpscaleJob, on_progress: Callable[[float], None], canceled: Callable[[], bool]
    ) -> JobResult:
        """Make and store the result. Raises JobError. Called from many threads."""

    def erase(self, job: UpscaleJob) -> None:
        """Erase what a canceled job left. Raises BlobStoreError."""


class JobEndedBadlyError(Exception):
    """What RQ is told of a failed job; the client reads the failure's own fields."""


class NoAlarm(BaseDeathPenalty):
    """RQ's alarm around `perform`, left out: the outcome is there by then, and our pulse keeps the deadline."""

    def setup_death_penalty(self) -> None:
        """Nothing."""

    def cancel_death_penalty(self) -> None:
        """Nothing."""


class BatchJob(Job):
    """A job whose outcome was computed before RQ performs it. It never imports a function."""

    outcome: JobResult | JobFailure | None = None
    admitted_at: datetime | None = None

    def perform(self) -> dict[str, Any]:
        """The outcome, for RQ to record."""
        self.started_at = self.admitted_at  # RQ has just overwritten it
        if isinstance(self.outcome, JobResult):
            return asdict(self.outcome)
        assert self.outcome is not None
        raise JobEndedBadlyError(f"{self.outcome.code}: {self.outcome.message}")


@dataclass
class Progress:
    """How far a job is, noted by the engine's thread and published by the worker's loop."""

    share: float = 0.0

    def note(self, share: float) -> None:
        """Never falls."""
        self.share = max(self.share, share)


@dataclass(eq=False)
class Flight:
    """A job that was admitted and has not ended."""

    rq_job: BatchJob
    job: UpscaleJob
    progress: "Progress"
    execution: Execution
    alone: bool
    canceled: threading.Event
    future: "Future[JobResult]"
    admitted_s: float = field(default_factory=time.monotonic)
    published: float = 0.0
    published_s: float = 0.0


def bytes_in_flight(job: UpscaleJob) -> int:
    """What a job takes up at most: the decoded input, and for each pixel of the result canvases and the encoder's copies.

    Measured for 36 megapixels with alpha, the worst case: PNG 17 bytes a pixel, JPEG 24, WebP 35.
    """
    input_px = job.input.width_px * job.input.height_px
    return input_px * 6 + input_px * job.scale**2 * 35


class BatchWorker(SimpleWorker):
    """Takes jobs while there is room, and reports each as soon as it is done."""

    death_penalty_class = NoAlarm

    def __init__(
        self,
        connection: Redis,
        processor: Processor,
        *,
        queue_name: str = QUEUE_NAME,
        max_jobs_in_flight: int,
        max_bytes_in_flight: int,
        lease_s: int,
        retention_s: int,
    ) -> None:
        super().__init__(
            [Queue(queue_name, connection=connection, serializer=JSONSerializer, job_class=BatchJob)],
            connection=connection,
            job_class=BatchJob,
            serializer=JSONSerializer,
            worker_ttl=lease_s,
            maintenance_interval=MAINTENANCE_EVERY_S,
            default_result_ttl=retention_s,
        )
        self._processor = processor
        self._max_jobs = max_jobs_in_flight
        self._max_bytes = max_bytes_in_flight
        self._lease_s = lease_s
        self._flights: dict[str, Flight] = {}
        self._ended: SimpleQueue[Flight] = SimpleQueue()
        self._no_room = False
        self._paused_until_s = 0.0
        # Held while a job's lease is renewed or ended, so that no beat revives what has ended.
        self._bookkeeping = threading.Lock()
        self._threads = ThreadPoolExecutor(max_jobs_in_flight, thread_name_prefix="job")
        self._stopped = threading.Event()
        self._pulse = threading.Thread(target=self._beat_until_stopped, name="pulse", daemon=True)

    # ---- RQ's loop calls these

    def work(self, *args: Any, **kwargs: Any) -> bool:
        """RQ's loop, with our pulse beside it."""
        self._pulse.start()
        try:
            return bool(super().work(*args, **kwargs))
        finally:
            self._stopped.set()
            self._pulse.join()
            self._threads.shutdown()

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Called by RQ with the first job; returns when nothing is in flight."""
        self.set_state(WorkerStatus.BUSY)  # from here on a SIGTERM lets what runs finish
        waiting: Job | None = job
        while waiting or self._flights or self._pausing():
            try:
                if waiting:
                    self._admit(waiting, queue)
                    waiting = None
                if self._has_room():
                    waiting = self._next_job(queue)
                    if waiting:
                        continue
                self._end_one(queue)
                self._publish_progress()
                if self.should_run_maintenance_tasks:
                    self.run_maintenance_tasks()  # type: ignore[no-untyped-call]
            except (RedisConnectionError, RedisTimeoutError) as error:
                logger.error("Redis does not answer (%s); trying again", error)
                time.sleep(1.0)
        self.set_state(WorkerStatus.IDLE)

    def prepare_job_execution(self, job: Job, remove_from_intermediate_queue: bool = False) -> None:
        """Nothing: the job was prepared when it was admitted."""

    def get_heartbeat_ttl(self, job: Job) -> int:
        """A short lease, renewed by our pulse, instead of RQ's job timeout plus a minute."""
        return self._lease_s

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Beat for a lease: RQ would let a dead worker seem alive for minutes."""
        super().heartbeat(timeout=self._lease_s + 5, pipeline=pipeline)

    def handle_payload(self, message: dict[Any, Any]) -> None:
        """Accept RQ's stop-job for any job in flight."""
        payload = parse_payload(message)
        flight = self._flights.get(str(payload.get("job_id")))
        if payload["command"] == "stop-job" and flight:
            flight.canceled.set()
        elif payload["command"] != "stop-job":
            super().handle_payload(message)  # type: ignore[no-untyped-call]

    def handle_exception(self, job: Job, *exc_info: Any) -> bool:
        """One line instead of a stack that leads only to `perform`."""
        if self._stopped_job_id != job.id:
            logger.warning("job %s failed: %s", job.id, exc_info[1])
        return True

    # ---- admission

    def _pausing(self) -> bool:
        return time.monotonic() < self._paused_until_s and not self._stop_requested

    def _has_room(self) -> bool:
        if self._stop_requested or self._no_room or self._pausing() or len(self._flights) >= self._max_jobs:
            return False
        return not any(flight.alone for flight in self._flights.values())

    def _next_job(self, queue: Queue) -> Job | None:
        taken = Queue.dequeue_any(
            [queue], timeout=None, connection=self.connection, job_class=BatchJob, serializer=JSONSerializer
        )
        return taken[0] if taken else None

    def _admit(self, rq_job: Job, queue: Queue) -> None:
        """Turn `queued` into `started`, once among all workers, and start the work."""
        assert isinstance(rq_job, BatchJob)
        refusal: JobError | None = None
        try:
            job = self._job_of(rq_job)
        except JobRefusedError as error:
            refusal, job = error, None
        with self.connection.pipeline() as pipeline:
            try:
                pipeline.watch(rq_job.key)
                status, cancel, attempts = pipeline.hmget(rq_job.key, "status", Field.CANCEL, Field.ATTEMPTS)
                if status is None or as_text(status) != RqStatus.QUEUED or cancel:
                    # Ended, canceled, or a second entry for a job that another worker has.
                    pipeline.unwatch()
                    self._drop(rq_job, job, queue, canceled=bool(cancel))
                    return
                alone = int(attempts or 0) > 0  # whatever ended its last attempt shall take no fellows along
                # Its own lease has lapsed, if it is in flight here: then first comes the end of that.
                again = rq_job.id in self._flights
                if self._flights and (again or alone or (job is not None and not self._fits(job))):
                    pipeline.multi()
                    pipeline.lrem(queue.intermediate_queue_key, 1, rq_job.id)
                    queue.push_job_id(rq_job.id, pipeline=pipeline, at_front=True)
                    pipeline.execute()
                    self._no_room = True
                    return
                pipeline.multi()
                execution = Execution.create(rq_job, self._lease_s, pipeline=pipeline, worker_name=self.name)
                rq_job.prepare_for_execution(self.name, pipeline=pipeline)
                pipeline.hincrby(rq_job.key, Field.ATTEMPTS, 1)
                pipeline.hdel(rq_job.key, Field.PROGRESS, Field.FAILURE)
                pipeline.lrem(queue.intermediate_queue_key, 1, rq_job.id)
                pipeline.execute()
            except WatchError:
                self._admit(rq_job, queue)
                return
        rq_job.admitted_at = rq_job.started_at
        if job is None:
            assert refusal is not None
            self._record(rq_job, execution, refusal.as_failure(), queue)
            return
        progress, canceled = Progress(), threading.Event()
        future = self._threads.submit(self._processor.process, job, progress.note, canceled.is_set)
        flight = Flight(rq_job, job, progress, execution, alone, canceled, future)
        self._flights[rq_job.id] = flight
        logger.info("job %s started: %s", rq_job.id, rq_job.description)
        future.add_done_callback(lambda _: self._ended.put(flight))

    def _job_of(self, rq_job: BatchJob) -> UpscaleJob:
        try:
            if rq_job.func_name != FUNCTION_NAME:
                raise JobRefusedError(f"The function {rq_job.func_name!r} is not one that workers run.")
            return UpscaleJob.from_json(rq_job.kwargs["job"])
        except (JobSchemaError, DeserializationError, KeyError, TypeError) as error:
            raise JobRefusedError(f"The queue holds something that is not a job: {error}") from error

    def _fits(self, job: UpscaleJob) -> bool:
        flying_bytes = sum(bytes_in_flight(flight.job) for flight in self._flights.values())
        return flying_bytes + bytes_in_flight(job) <= self._max_bytes

    def _drop(self, rq_job: Job, job: UpscaleJob | None, queue: Queue, *, canceled: bool) -> None:
        self.connection.lrem(queue.intermediate_queue_key, 1, rq_job.id)
        if canceled and rq_job.get_status() is RqStatus.QUEUED:
            end_canceled(rq_job, self.default_result_ttl)
            if job is not None:  # a worker that died with it may have left a result
                self._erase(job)

    # ---- completion

    def _end_one(self, queue: Queue) -> None:
        try:
            flight = self._ended.get(timeout=POLL_S)
        except Empty:
            return
        try:
            with self._bookkeeping:
                leaves_pictures = self._end(flight, queue)
                del self._flights[flight.rq_job.id]
        except RedisError:
            self._ended.put(flight)
            raise
        self._no_room = False
        if (
            leaves_pictures
        ):  # not under the lock: a slow blob store must not keep the leases from being renewed
            self._erase(flight.job)

    def _end(self, flight: Flight, queue: Queue) -> bool:
        """Record how it ended; says whether there may be pictures that nobody wants any more."""
        status, holder, cancel = self.connection.hmget(
            flight.rq_job.key, "status", "worker_name", Field.CANCEL
        )
        if status is None or as_text(status) != RqStatus.STARTED or as_text(holder or b"") != self.name:
            # This worker was silent for longer than its lease, and the job went on without it.
            logger.warning("job %s is no longer this worker's; its outcome is dropped", flight.rq_job.id)
            return status is None or bool(cancel)
        if cancel:
            flight.canceled.set()
        error = flight.future.exception()
        outcome: JobResult | JobFailure
        if flight.canceled.is_set():
            outcome = CanceledError().as_failure()
            self._stopped_job_id = flight.rq_job.id
            logger.info("job %s was canceled", flight.rq_job.id)
        elif error is None:
            outcome = flight.future.result()
            logger.info(
                "job %s succeeded: %s, %dx%d px in %.2f s",
                flight.rq_job.id,
                outcome.checkpoint,
                outcome.width_px,
                outcome.height_px,
                time.monotonic() - flight.admitted_s,
            )
        elif isinstance(error, JobError):
            outcome = error.as_failure()
            if outcome.retryable:
                # What ails the blob store ails the next job too: its attempts are not to be burnt in a second.
                self._paused_until_s = time.monotonic() + RETRY_PAUSE_S
        else:
            logger.error("job %s: unexpected error", flight.rq_job.id, exc_info=error)
            outcome = JobError(f"{JobError.__doc__} ({type(error).__name__})").as_failure()
        self._record(flight.rq_job, flight.execution, outcome, queue)
        return flight.canceled.is_set()

    def _record(
        self, rq_job: BatchJob, execution: Execution, outcome: JobResult | JobFailure, queue: Queue
    ) -> None:
        """Let RQ write the outcome down."""
        if isinstance(outcome, JobFailure):
            set_field(self.connection, rq_job.id, Field.FAILURE, encode_failure(outcome))
            if not outcome.retryable:
                rq_job.retries_left = 0
        rq_job.outcome = outcome
        self.execution = execution
        self.perform_job(rq_job, queue)

    def _erase(self, job: UpscaleJob) -> None:
        try:
            self._processor.erase(job)
        except BlobStoreError as error:
            logger.error("what canceled job %s left could not be erased; the sweep will: %s", job.id, error)

    def _publish_progress(self) -> None:
        moment_s = time.monotonic()
        for flight in self._flights.values():
            due = moment_s - flight.published_s >= PROGRESS_EVERY_S
            share = flight.progress.share
            if due and share > flight.published:
                flight.published, flight.published_s = share, moment_s
                set_field(self.connection, flight.rq_job.id, Field.PROGRESS, f"{share:.4f}")

    # ---- leases

    def _beat_until_stopped(self) -> None:
        while not self._stopped.wait(self._lease_s / 4):
            try:
                self._exit_if_hung()
                self._beat()
            except RedisError as error:
                logger.error("no heartbeat: Redis does not answer (%s)", error)

    def _beat(self) -> None:
        with self._bookkeeping, self.connection.pipeline(transaction=False) as pipeline:
            flights = list(self._flights.values())
            self.heartbeat(pipeline=pipeline)
            for flight in flights:
                registry = flight.rq_job.started_job_registry
                flight.execution.heartbeat(registry, self._lease_s, pipeline=pipeline)
            pipeline.execute()
        for flight in flights:  # a stop-job message can be lost; the mark is not
            if self.connection.hget(flight.rq_job.key, Field.CANCEL):
                flight.canceled.set()

    def _exit_if_hung(self) -> None:
        """Nothing in Python can interrupt a hung forward pass, so the process ends.

        Without beats its jobs go to other workers, where they, past their first attempt, run alone.
        """
        for flight in list(self._flights.values()):
            flying_s = time.monotonic() - flight.admitted_s
            if flying_s > (flight.rq_job.timeout or float("inf")) and not flight.future.done():
                logger.critical(
                    "job %s runs for %.0f s, past its deadline; exiting", flight.rq_job.id, flying_s
                )
                os._exit(EXIT_HUNG)
