"""SIGTERM: what runs is finished, the rest stays queued."""

import random
import time

from tests.chaos.scale import SCALE, SEED
from tests.chaos.site import Site
from tests.eventually import eventually
from worker.contract.jobs import JobStatus

IN_FLIGHT = 2
JOBS_EACH_TIME = 20
"""More than a worker ends until it has stopped: about ten a second."""


def test_what_runs_is_finished_and_the_rest_stays_queued(site: Site, large_picture: bytes) -> None:
    print(f"ENLARGER_CHAOS_SEED={SEED}")
    chance = random.Random(SEED)
    settings = {"ENLARGER_MAX_JOBS_IN_FLIGHT": str(IN_FLIGHT)}
    with site.ledger() as ledger, site.worker(environment=settings) as worker:
        for _ in range(SCALE.stops):
            worker.start_and_wait()
            batch = [site.submit(large_picture, model="espcn", scale=4) for _ in range(JOBS_EACH_TIME)]
            for job_id in batch:
                ledger.add(job_id)
            eventually(lambda ids=batch: site.in_state(JobStatus.PROCESSING, ids), 60.0, "a job runs")  # type: ignore[misc]
            time.sleep(chance.uniform(0.0, 0.3))
            running = site.in_state(JobStatus.PROCESSING, ledger.ids)
            worker.ask_to_stop()
            assert worker.wait() == 0
            # None is left half done, and what ran when the signal came was not thrown away.
            assert site.in_state(JobStatus.PROCESSING, ledger.ids) == []
            assert set(site.in_state(JobStatus.SUCCEEDED, running)) == set(running)
            waiting = site.in_state(JobStatus.QUEUED, ledger.ids)
            assert len(waiting) >= 1, "the worker was done before it was told to stop: nothing was shown"
            assert [site.starts(job_id) for job_id in waiting] == [0] * len(waiting)
            assert site.queue.waiting() == len(waiting)
        worker.start_and_wait()
        ledger.wait_until_ended()
        assert ledger.counts() == {JobStatus.SUCCEEDED: len(ledger.ids)}
        assert {site.starts(job_id) for job_id in ledger.ids} == {1}
        for record in ledger.finals.values():
            site.assert_result_whole(record)
