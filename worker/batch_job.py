"""RQ's job, made to be performed once its outcome is known. It never imports a function."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from rq.job import Job

from worker.contract.jobs import JobFailure, JobResult


class JobEndedBadlyError(Exception):
    """What RQ is told of a failed job; the client reads the failure's own fields."""


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

    def execute_success_callback(self, *arguments: Any) -> None:
        """Nothing: whoever writes to Redis does not choose what is called here."""

    def execute_failure_callback(self, *arguments: Any) -> None:
        """Nothing, likewise."""

    def send_webhooks(self, *arguments: Any, **named: Any) -> None:
        """Nothing, likewise."""
