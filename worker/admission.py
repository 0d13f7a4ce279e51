"""Which of the jobs that wait may join those in flight."""

import time
from collections.abc import Sequence

from worker.contract.jobs import Priority, UpscaleJob
from worker.lines import Verdict
from worker.memory_budget import fits_beside, is_large

RESERVED_JOBS = 2
"""Places in flight that bulk jobs never take: an interactive job does not wait for the end of one of them."""

OVERTAKEN_S = 10.0
"""How long a job for which there is no room is overtaken by smaller ones behind it. Then they wait until there is."""


class Admission:
    """Judges by places and by memory, and remembers who was passed over."""

    def __init__(self, max_jobs: int, max_bytes: int) -> None:
        self._max_jobs = max_jobs
        self._max_bytes = max_bytes
        self._passed_over_s: dict[str, float] = {}

    def judge(self, job: UpscaleJob, flying: Sequence[UpscaleJob]) -> Verdict:
        """Whether a job may join those in flight, is passed over, or keeps those behind it waiting too."""
        if job.priority is Priority.BULK:
            bulk = sum(other.priority is Priority.BULK for other in flying)
            if bulk >= max(1, self._max_jobs - RESERVED_JOBS):
                return Verdict.SKIP
        if fits_beside(flying, job, self._max_bytes):
            return Verdict.TAKE
        # A large one waits for another large one to end, and needs nobody else's room.
        since_s = self._passed_over_s.setdefault(job.id, time.monotonic())
        patient = is_large(job, self._max_bytes) or time.monotonic() - since_s < OVERTAKEN_S
        return Verdict.SKIP if patient else Verdict.STOP

    def admitted(self, job_id: str) -> None:
        """Forget that it was passed over."""
        self._passed_over_s.pop(job_id, None)

    def idle(self) -> None:
        """Forget everybody: nothing is in flight, so that the next job is taken whatever its size."""
        self._passed_over_s.clear()
