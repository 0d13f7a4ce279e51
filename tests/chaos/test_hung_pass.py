"""A forward pass that never ends costs its own job, and the others some seconds."""

from PIL import Image

from tests.chaos.hung_worker import HANGS
from tests.chaos.site import RETENTION_S, Site
from tests.eventually import eventually
from tests.pictures import encoded
from worker.contract.jobs import JobStatus
from worker.contract.queue import MAX_ATTEMPTS, WORKER_LOST, JobQueue
from worker.rq_worker import EXIT_HUNG

DEADLINE_S = 8
"""Of each job."""


def test_a_hung_pass_ends_at_its_deadline(site: Site, small_picture: bytes) -> None:
    site.queue = JobQueue(site.redis, job_timeout_s=DEADLINE_S, retention_s=RETENTION_S)
    with site.ledger() as ledger, site.worker(module="tests.chaos.hung_worker") as worker:
        hung = site.submit(encoded(Image.new("RGB", (40, 30), HANGS), "PNG"), model="espcn")
        fellows = [site.submit(small_picture, model="espcn") for _ in range(3)]
        for job_id in (hung, *fellows):
            ledger.add(job_id)
        deaths = 0

        def ended_though_it_died() -> bool:
            """Start the worker whenever it has died, as a supervisor does."""
            nonlocal deaths
            if not worker.running:
                if deaths:
                    assert worker.exit_status == EXIT_HUNG, worker.log
                worker.start()
                deaths += 1
            return len(ledger.finals) == len(ledger.ids)

        eventually(ended_though_it_died, 300.0, "every job has ended")
        assert ledger.finals[hung].failure == WORKER_LOST
        assert site.starts(hung) == MAX_ATTEMPTS
        assert ledger.counts() == {JobStatus.SUCCEEDED: len(fellows), JobStatus.FAILED: 1}
        assert max(site.starts(job_id) for job_id in fellows) <= 2
        assert worker.log.count("past its deadline; exiting") == MAX_ATTEMPTS
