"""RQ's worker, made to have many jobs in flight at once. Every override of it stands in this file.

RQ's own `perform_job` still does the bookkeeping of each job (status, result, retries, registries,
expiry); what is different is when: a job is admitted (one transaction turns `queued` into
`started`), processed on other threads beside its fellows, and performed, in RQ's sense, once
its outcome is known. RQ 3 changes these signatures, hence `rq<3`. The file is longer than our others: spread over
several, it would no longer show at a glance what of RQ's worker is changed. The lines that jobs come from are in `worker/lines.py`.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any

from redis import Redis
from redis.exceptions import RedisError, ResponseError, WatchError
from rq import Queue, SimpleWorker
from rq.command import parse_payload
from rq.exceptions import DeserializationError
from rq.executions import Execution
from rq.job import Job
from rq.job import JobStatus as RqStatus
from rq.registry import FailedJobRegistry, FinishedJobRegistry
from rq.serializers import JSONSerializer
from rq.timeouts import BaseDeathPenalty
from rq.utils import as_text, now
from rq.worker import WorkerStatus
from rq.worker_registration import clean_worker_registry, register

from worker.abandoned import give_back_abandoned
from worker.admission import Admission
from worker.batch_job import BatchJob
from worker.contract.blobs import BlobStoreError
from worker.contract.fields import Field
from worker.contract.fleet import tell
from worker.contract.jobs import JobFailure, JobResult, JobSchemaError, JobStatus, UpscaleJob
from worker.contract.logs import job_in_log
from worker.contract.queue import (
    FUNCTION_NAME,
    QUEUE_NAME,
    RECORD_LIVES,
    WORKER_LOST,
    encode_failure,
    end_canceled,
    set_field,
    set_progress,
)
from worker.contract.webhooks import nudge
from worker.errors import CanceledError, JobError, JobRefusedError
from worker.flight import Flight, Processor, Progress
from worker.heap import trim_heap
from worker.lines import Line, Verdict, WaitingLines, is_nonsense
from worker.memory_budget import bytes_in_flight
from worker.metrics import WorkerMetrics
from worker.speed import Speed

logger = logging.getLogger(__name__)

PROGRESS_EVERY_S = 0.25
"""How often a job's progress is published at most."""

POLL_S = 0.005
"""How long the loop waits for an outcome before it looks round."""

LOOK_EVERY_S = 0.02
"""How often a worker with room looks at the lines again after it found nothing to take. An outcome makes it look at once."""

RETRY_PAUSE_S = 10.0
"""How long no job is taken after one failed for a cause that may pass."""

EXIT_HUNG = 70
"""The exit status of a worker whose forward pass hangs (EX_SOFTWARE of sysexits.h)."""

MAINTENANCE_EVERY_S = 15
"""How often abandoned jobs are looked for; RQ's default of 600 s would leave a dead worker's jobs lying. With a lease under
twice that, twice in a lease."""


class NoAlarm(BaseDeathPenalty):
    """RQ's alarm around `perform`, left out: the outcome is there by then, and our pulse keeps the deadline."""

    def setup_death_penalty(self) -> None:
        """Nothing."""

    def cancel_death_penalty(self) -> None:
        """Nothing."""


class BatchWorker(SimpleWorker):
    """Takes jobs while there is room, and reports each as soon as it is done."""

    death_penalty_class = NoAlarm
    # RQ doubles its pause with every failed attempt to reach Redis until a job comes, over all outages: up to a minute of deafness.
    max_connection_wait_time = 2.0

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
        metrics: WorkerMetrics | None = None,
        faults: Callable[[], list[str]] = list,
    ) -> None:
        """`faults`: what whoever runs the service should know; it is told with each heartbeat."""
        self._lines = WaitingLines(connection, queue_name, BatchJob)
        super().__init__(
            self._lines.queues,
            connection=connection,
            queue_class=Line,
            job_class=BatchJob,
            serializer=JSONSerializer,
            worker_ttl=lease_s,
            maintenance_interval=min(MAINTENANCE_EVERY_S, lease_s // 2),
            default_result_ttl=RECORD_LIVES * retention_s,
        )
        self._processor = processor
        self._max_jobs = max_jobs_in_flight
        self._admission = Admission(max_jobs_in_flight, max_bytes_in_flight)
        self._lease_s = lease_s
        self._flights: dict[str, Flight] = {}
        self._ended: SimpleQueue[Flight] = SimpleQueue()
        self._metrics = metrics or WorkerMetrics()
        self._faults = faults
        self._speed = Speed()
        self._look_again_s = 0.0
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
        taken: tuple[Job, Queue] | None = (job, queue)
        while True:
            try:
                if taken:
                    self._admit(*taken)
                    taken = None
                if self._has_room():
                    taken = self._lines.take(self._judge)
                    if taken:
                        continue
                    self._look_again_s = time.monotonic() + LOOK_EVERY_S
                if not self._flights and not self._pausing():
                    break
                self._end_one()
                self._publish_progress()
                self._speed.note([flight.done_mmac for flight in self._flights.values()])
                if self.should_run_maintenance_tasks:
                    self.run_maintenance_tasks()  # type: ignore[no-untyped-call]
            except RedisError as error:  # also one that is full, loading or read-only for a while
                logger.error("Redis does not answer (%s); trying again", error)
                time.sleep(1.0)
        self._admission.idle()
        trim_heap()
        self.set_state(WorkerStatus.IDLE)

    def prepare_job_execution(self, job: Job, remove_from_intermediate_queue: bool = False) -> None:
        """Nothing: the job was prepared when it was admitted."""

    def get_heartbeat_ttl(self, job: Job) -> int:
        """A short lease, renewed by our pulse, instead of RQ's job timeout plus a minute."""
        return self._lease_s

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Beat for a lease: RQ would let a dead worker seem alive for minutes."""
        try:
            super().heartbeat(timeout=self._lease_s + 5, pipeline=pipeline)
        except ResponseError as error:  # a full Redis: the worker goes on until it has room again
            logger.error("no heartbeat: %s", error)
            time.sleep(1.0)

    def clean_registries(self) -> None:
        """Look for abandoned jobs, one worker at a time."""
        for queue in self.queues:
            if not queue.acquire_maintenance_lock():
                continue
            FinishedJobRegistry(queue=queue).cleanup()
            FailedJobRegistry(queue=queue).cleanup()
            give_back_abandoned(queue, self._note_lost)
            clean_worker_registry(queue)
            queue.intermediate_queue.cleanup(self, queue)
            queue.release_maintenance_lock()
        self.last_cleaned_at = now()  # type: ignore[assignment]

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
        if isinstance(exc_info[1], RedisError):
            raise exc_info[1]  # it is the record that failed, not the job: `_end_one` tries again
        if self._stopped_job_id != job.id:
            logger.warning("failed: %s", exc_info[1])
        return True

    # ---- admission

    def _pausing(self) -> bool:
        return time.monotonic() < self._paused_until_s and not self._stop_requested

    def _has_room(self) -> bool:
        if self._stop_requested or self._pausing() or time.monotonic() < self._look_again_s:
            return False
        alone = any(flight.alone for flight in self._flights.values())
        return not alone and len(self._flights) < self._max_jobs

    def _judge(self, rq_job: Job, attempts: int) -> Verdict:
        """Whether a job that waits may join those in flight."""
        assert isinstance(rq_job, BatchJob)
        if not self._flights or rq_job.get_status(refresh=False) is not RqStatus.QUEUED:
            return Verdict.TAKE  # to be dropped, where it is a second entry for a job that somebody has
        if rq_job.id in self._flights:  # its own lease has lapsed: first comes the end of that
            return Verdict.SKIP
        if attempts:  # whatever ended its last attempt shall take no fellows along
            return Verdict.STOP
        try:
            job = self._job_of(rq_job)
        except JobRefusedError:
            return Verdict.TAKE
        return self._admission.judge(job, [flight.job for flight in self._flights.values()])

    def _admit(self, rq_job: Job, queue: Queue) -> None:
        """Turn `queued` into `started`, once among all workers, and start the work."""
        assert isinstance(rq_job, BatchJob)
        with job_in_log(rq_job.id):
            while not self._admitted(rq_job, queue):
                pass

    def _admitted(self, rq_job: BatchJob, queue: Queue) -> bool:
        """False where somebody wrote to the job meanwhile, so that it is to be looked at again."""
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
                    return True
                alone = as_text(attempts or b"0") != "0"
                if self._flights and (alone or rq_job.id in self._flights):
                    # It was begun and given up elsewhere since it was looked at.
                    pipeline.multi()
                    pipeline.lrem(queue.intermediate_queue_key, 1, rq_job.id)
                    queue.push_job_id(rq_job.id, pipeline=pipeline, at_front=True)
                    pipeline.execute()
                    return True
                pipeline.multi()
                execution = Execution.create(rq_job, self._lease_s, pipeline=pipeline, worker_name=self.name)
                rq_job.prepare_for_execution(self.name, pipeline=pipeline)
                pipeline.hincrby(rq_job.key, Field.ATTEMPTS, 1)
                pipeline.hdel(rq_job.key, Field.PROGRESS, Field.FAILURE)
                pipeline.lrem(queue.intermediate_queue_key, 1, rq_job.id)
                pipeline.execute()
            except WatchError:
                return False
        self._admission.admitted(rq_job.id)
        rq_job.admitted_at = rq_job.started_at
        if alone:
            self._metrics.retried()
        if job is None:
            assert refusal is not None
            self._record(rq_job, execution, refusal.as_failure(), queue)
            return True
        # RQ notes when a job was enqueued, anew at a retry.
        queued = rq_job.started_at - (rq_job.enqueued_at or rq_job.started_at) if rq_job.started_at else None
        self._metrics.job_started(job.priority, max(0.0, queued.total_seconds()) if queued else 0.0)
        progress, canceled = Progress(), threading.Event()
        future = self._threads.submit(self._processor.process, job, progress.note, canceled.is_set)
        flight = Flight(rq_job, queue, job, progress, execution, alone, canceled, future)
        self._flights[rq_job.id] = flight
        self._note_in_flight()
        logger.info("started: %s", rq_job.description)
        future.add_done_callback(lambda _: self._ended.put(flight))
        return True

    def _job_of(self, rq_job: BatchJob) -> UpscaleJob:
        try:
            if rq_job.func_name != FUNCTION_NAME:
                raise JobRefusedError(f"The function {rq_job.func_name!r} is not one that workers run.")
            job = UpscaleJob.from_json(rq_job.kwargs["job"])
            if job.id != rq_job.id:
                raise JobRefusedError(f"The job {rq_job.id} says that it is {job.id!r:.80}.")
            return job
        except (JobSchemaError, DeserializationError, AttributeError, KeyError, TypeError) as error:
            raise JobRefusedError(f"The queue holds something that is not a job: {error}") from error

    def _drop(self, rq_job: Job, job: UpscaleJob | None, queue: Queue, *, canceled: bool) -> None:
        self.connection.lrem(queue.intermediate_queue_key, 1, rq_job.id)
        if canceled and rq_job.get_status() is RqStatus.QUEUED:
            end_canceled(rq_job, self.default_result_ttl)
            if job is not None:  # a worker that died with it may have left a result
                self._erase(job, self._processor.erase)

    # ---- completion

    def _end_one(self) -> None:
        try:
            flight = self._ended.get(timeout=POLL_S)
        except Empty:
            return
        try:
            with self._bookkeeping, job_in_log(flight.rq_job.id):
                erase = self._end(flight)
                del self._flights[flight.rq_job.id]
                self._speed.ended(flight.done_mmac)
        except RedisError as error:
            if is_nonsense(error):  # somebody put something else in the record's place
                logger.error("job %s cannot be recorded, and is dropped: %s", flight.rq_job.id, error)
                del self._flights[flight.rq_job.id]
                return
            self._ended.put(flight)
            raise
        self._look_again_s = 0.0
        self._note_in_flight()
        if erase is not None:  # not under the lock, which would keep leases from being renewed
            self._erase(flight.job, erase)

    def _end(self, flight: Flight) -> Callable[[UpscaleJob], None] | None:
        """Record how it ended; gives what erases the pictures that nobody wants any more."""
        status, held, cancel = self._standing(flight)
        if not held:
            # This worker was silent for longer than its lease, and the job went on without it.
            logger.warning("no longer this worker's; its outcome is dropped")
            return self._processor.erase if status is None or cancel else None
        if cancel:
            flight.canceled.set()
        error = flight.future.exception()
        outcome: JobResult | JobFailure
        if flight.canceled.is_set():
            outcome = CanceledError().as_failure()
            self._stopped_job_id = flight.rq_job.id
            logger.info("canceled")
        elif error is None:
            outcome = flight.future.result()
            logger.info(
                "succeeded: %s, %dx%d px in %.2f s",
                outcome.checkpoint,
                outcome.width_px,
                outcome.height_px,
                time.monotonic() - flight.admitted_s,
            )
        elif isinstance(error, JobError):
            outcome = error.as_failure()
            if (
                outcome.retryable
            ):  # what ails the blob store ails the next job too: its attempts are not to be burnt
                self._paused_until_s = time.monotonic() + RETRY_PAUSE_S
        else:
            logger.error("unexpected error", exc_info=error)
            outcome = JobError(f"{JobError.__doc__} ({type(error).__name__})").as_failure()
        ended = self._record(flight.rq_job, flight.execution, outcome, flight.queue)
        if ended and flight.job.webhook_url:
            self._announce(flight.rq_job.id)
        if flight.canceled.is_set():
            return self._processor.erase
        return self._processor.erase_input if ended else None

    def _record(
        self, rq_job: BatchJob, execution: Execution, outcome: JobResult | JobFailure, queue: Queue
    ) -> bool:
        """Let RQ write the outcome down; says whether it is the job's end, and not to be tried again."""
        if isinstance(outcome, JobFailure):
            set_field(self.connection, rq_job.id, Field.FAILURE, encode_failure(outcome))
            if not outcome.retryable:
                rq_job.retries_left = 0
        again = isinstance(outcome, JobFailure) and outcome.retryable and bool(rq_job.retries_left)
        rq_job.outcome = outcome
        self.execution = execution
        self.perform_job(rq_job, queue)
        if not again:
            self._note_end(rq_job, outcome)
        return not again

    def _note_end(self, rq_job: BatchJob, outcome: JobResult | JobFailure) -> None:
        if isinstance(outcome, JobFailure):
            canceled = outcome.code == CanceledError.code
            state = JobStatus.CANCELED if canceled else JobStatus.FAILED
            self._metrics.job_ended(state, code="" if canceled else outcome.code)
            return
        assert rq_job.admitted_at is not None
        self._metrics.job_ended(
            JobStatus.SUCCEEDED,
            model=outcome.checkpoint,
            run_s=(now() - rq_job.admitted_at).total_seconds(),
            result_px=outcome.width_px * outcome.height_px,
        )

    def _announce(self, job_id: str) -> None:
        try:
            nudge(self.connection, job_id)
        except RedisError as error:  # the end is recorded, and the courier looks for it by itself, only later
            logger.warning("its webhook has to wait: %s", error)

    def _note_lost(self) -> None:
        self._metrics.job_ended(JobStatus.FAILED, code=WORKER_LOST.code)

    def _note_in_flight(self) -> None:
        jobs = [flight.job for flight in self._flights.values()]
        self._metrics.in_flight(len(jobs), sum(map(bytes_in_flight, jobs)))
        self._speed.note([flight.done_mmac for flight in self._flights.values()])

    def _erase(self, job: UpscaleJob, erase: Callable[[UpscaleJob], None]) -> None:
        try:
            erase(job)
        except BlobStoreError as error:
            logger.error("what job %s left could not be erased; the sweep will: %s", job.id, error)

    def _publish_progress(self) -> None:
        moment_s = time.monotonic()
        for flight in self._flights.values():
            due = moment_s - flight.published_s >= PROGRESS_EVERY_S
            share = flight.progress.share
            if due and share > flight.published and not flight.canceled.is_set():
                flight.published, flight.published_s = share, moment_s
                set_progress(self.connection, flight.rq_job.id, self.name, share)

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
            if self.last_heartbeat and not self.connection.hexists(self.key, "birth"):
                # Silent for too long, or Redis came back empty: without this, nobody sees this worker again.
                register(self, pipeline)
                pipeline.hset(self.key, mapping={**self.serialize(), "state": self.get_state()})
            self.heartbeat(pipeline=pipeline)
            tell(pipeline, self.key, self._faults(), self._speed.per_s)
            for flight in flights:
                registry = flight.rq_job.started_job_registry
                flight.execution.heartbeat(registry, self._lease_s, pipeline=pipeline)
            pipeline.execute()
        for flight in flights:  # a stop-job message can be lost; the mark is not
            _, held, cancel = self._standing(flight)
            if cancel or not held:  # whoever has it now makes its result, and shows its progress
                flight.canceled.set()

    def _standing(self, flight: Flight) -> tuple[str | None, bool, bool]:
        """RQ's status of the job, None where it is gone; whether this worker still holds it; whether it is to be canceled."""
        status, holder, cancel = self.connection.hmget(
            flight.rq_job.key, "status", "worker_name", Field.CANCEL
        )
        status = None if status is None else as_text(status)
        return status, status == RqStatus.STARTED and as_text(holder or b"") == self.name, bool(cancel)

    def _exit_if_hung(self) -> None:
        """Nothing in Python can interrupt a hung forward pass, so the process ends.

        Without beats its jobs go to other workers, where they, past their first attempt, run alone.
        """
        for flight in list(self._flights.values()):
            flying_s = time.monotonic() - flight.admitted_s
            if flying_s > (flight.rq_job.timeout or float("inf")) and not flight.future.done():
                with job_in_log(flight.rq_job.id):
                    logger.critical("runs for %.0f s, past its deadline; exiting", flying_s)
                os._exit(EXIT_HUNG)
