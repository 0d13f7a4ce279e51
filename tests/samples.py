"""A job, a result and a fleet, for tests that need any."""

import time

from worker.contract.fleet import LiveWorker
from worker.contract.jobs import InputFormat, InputPicture, JobResult, PictureFormat, UpscaleJob


def sample_job(job_id: str) -> UpscaleJob:
    """A valid job for tests."""
    picture = InputPicture(InputFormat.PNG, 40, 30, 1200, "00" * 32, "photo.png")
    return UpscaleJob(job_id, "espcn", 2, PictureFormat.PNG, None, picture, time.time())


def sample_result() -> JobResult:
    """A valid result of :func:`sample_job` for tests."""
    return JobResult("image/png", 80, 60, 4800, "11" * 32, "espcn-x2@1", "22" * 32, 0.01, 0.02, 0.03)


class SettableFleet:
    """As many workers as a test wants."""

    def __init__(self, names: tuple[str, ...] = ("worker-1",)) -> None:
        self.names = names
        self.faults: tuple[str, ...] = ()
        self.mmac_per_s: float | None = None

    def live_workers(self) -> list[LiveWorker]:
        """See :class:`worker.contract.fleet.Fleet`."""
        return [LiveWorker(name, "localhost", "idle", self.faults, self.mmac_per_s) for name in self.names]
