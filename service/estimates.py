"""How long those who wait will wait, from what stands before them and how fast the workers are."""

import time

from service.schemas import Job
from worker.contract.backlog import Backlog
from worker.contract.fleet import Fleet
from worker.contract.jobs import JobRecord, JobStatus
from worker.contract.queue import JobQueue

SPEED_IS_GOOD_FOR_S = 1.0
"""Workers tell it with their heartbeats, a few seconds apart."""

SHORTEST_PAUSE_S = 1
"""Until a client asks again; also where nothing better is known."""
LONGEST_PAUSE_S = 30
"""An estimate may be wrong, and the line becomes shorter by those who cancel."""

SHARE_TO_GO = 0.1
"""Whoever was refused by a full queue comes again when so much of it will be done."""


class Estimates:
    """Blocks: call it in a thread. Every method may raise QueueUnavailableError."""

    def __init__(self, queue: JobQueue, fleet: Fleet) -> None:
        self._queue = queue
        self._fleet = fleet
        self._speed: tuple[float, float | None] | None = None

    def job_now(self, record: JobRecord, root_path: str) -> Job:
        """The job with its place in line, and how long that will take."""
        job = Job.from_record(record, root_path)
        backlog = self._queue.place(record.job.id) if record.status is JobStatus.QUEUED else None
        if backlog is None:
            return job
        return job.model_copy(update={"position": backlog.jobs, "time_left_s": self.time_left_s(backlog)})

    def time_left_s(self, backlog: Backlog) -> float | None:
        """Until all of it is done, roughly: in whole seconds, from a hundred on in tens. None while no worker has done anything yet.

        As if the device took one job after the other. It takes many at once, bulk jobs get their share before their turn, and
        models differ in what they get out of it.
        """
        speed = self._mmac_per_s()
        if speed is None:
            return None
        seconds = max(1.0, backlog.work_mmac / speed)
        return float(round(seconds, 0 if seconds < 100 else -1))

    def poll_after_s(self, job: Job) -> int:
        """When to come again to hear something new: in half the time that is left."""
        return _pause_s((job.time_left_s or 0.0) / 2)

    def room_after_s(self, backlog: Backlog) -> int | None:
        """When whoever was refused by a full queue may come again: when a tenth of it is done. None where nothing is known."""
        seconds = self.time_left_s(backlog)
        return None if seconds is None else _pause_s(seconds * SHARE_TO_GO)

    def _mmac_per_s(self) -> float | None:
        now_s = time.monotonic()
        if self._speed is None or now_s - self._speed[0] >= SPEED_IS_GOOD_FOR_S:
            self._speed = now_s, self._measured()
        return self._speed[1]

    def _measured(self) -> float | None:
        workers = self._fleet.live_workers()
        known = [worker.mmac_per_s for worker in workers if worker.mmac_per_s]
        # A worker that has just started is taken to be as fast as the others.
        return sum(known) / len(known) * len(workers) if known else None


def _pause_s(seconds: float) -> int:
    return min(LONGEST_PAUSE_S, max(SHORTEST_PAUSE_S, round(seconds)))
