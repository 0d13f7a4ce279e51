"""What the queue says of a job."""

from worker.contract.jobs import JobStatus
from worker.contract.queue import JobQueue


def status(queue: JobQueue, job_id: str) -> JobStatus | None:
    """How the job stands; None if there is none with that id."""
    record = queue.find(job_id)
    return record.status if record else None
