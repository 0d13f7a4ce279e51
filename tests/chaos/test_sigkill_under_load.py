"""SIGKILL of one of two workers at random moments: every job ends well, once, and is started at most twice."""

import random
import time

from rq import Queue

from tests.chaos.ledger import Ledger
from tests.chaos.scale import SCALE, SEED
from tests.chaos.site import Site
from tests.chaos.worker_process import WorkerProcess
from tests.eventually import eventually
from worker.contract.jobs import JobStatus
from worker.contract.queue import QUEUE_NAME

JOBS_IN_STOCK = 6
"""So many wait or run at any moment until the last kill."""


class Load:
    """Jobs of two sizes, as many as it takes to keep both workers busy."""

    def __init__(self, site: Site, ledger: Ledger, *pictures: bytes) -> None:
        self._site, self._ledger, self._pictures = site, ledger, pictures

    def top_up(self) -> None:
        """Send jobs until enough of them have not ended."""
        while len(self._ledger.ids) - len(self._ledger.finals) < JOBS_IN_STOCK:
            picture = self._pictures[len(self._ledger.ids) % len(self._pictures)]
            self._ledger.add(self._site.submit(picture, model="espcn", scale=4))


def test_every_job_ends_once_and_is_started_at_most_twice(
    site: Site, small_picture: bytes, large_picture: bytes
) -> None:
    print(f"ENLARGER_CHAOS_SEED={SEED}")
    chance = random.Random(SEED)
    with site.ledger() as ledger, site.worker("one") as one, site.worker("two") as two:
        load = Load(site, ledger, small_picture, large_picture)
        one.start()
        two.start_and_wait()
        hit: list[str] = []
        for _ in range(SCALE.kills):
            victim = chance.choice((one, two))
            _load_until(time.monotonic() + chance.uniform(0.2, 2.0), load)
            held = _kill_at_work(victim, site, ledger, load)
            victim.start()
            hit += held
            # The next kill must not hit a job that this one hit: twice in a row would be fate, not a fault.
            eventually(lambda ids=held: _all_ended(ledger, ids, load), 150.0, f"{held} ended")  # type: ignore[misc]
        ledger.wait_until_ended()
        print(f"{len(hit)} jobs were in flight at a kill, of {len(ledger.ids)}")
        assert ledger.counts() == {JobStatus.SUCCEEDED: len(ledger.ids)}
        starts = {job_id: site.starts(job_id) for job_id in ledger.ids}
        assert starts == {job_id: 2 if job_id in hit else 1 for job_id in ledger.ids}
        for record in ledger.finals.values():
            site.assert_result_whole(record)
        # Nothing is left over: no second entry waits, no execution is open.
        assert site.queue.waiting() == 0
        assert one.running
        assert two.running
        leftover = site.redis.keys("rq:queue:*intermediate") + site.redis.keys("rq:wip:*")
        assert leftover == []


def _load_until(moment_s: float, load: Load) -> None:
    while time.monotonic() < moment_s:
        load.top_up()
        time.sleep(0.01)


def _kill_at_work(victim: WorkerProcess, site: Site, ledger: Ledger, load: Load) -> list[str]:
    """Kill the worker while it holds jobs, which are returned: a kill between two jobs would show nothing."""
    deadline_s = time.monotonic() + 60.0
    while time.monotonic() < deadline_s:
        _load_until(time.monotonic() + 0.01, load)
        victim.pause()
        time.sleep(0.02)  # what it has sent is with Valkey by then
        held = site.held_by(victim, unended(ledger))
        if held:
            victim.kill()
            return held
        victim.resume()
    raise AssertionError("The worker had no job in flight for a minute, though jobs waited.")


def unended(ledger: Ledger) -> list[str]:
    """The jobs that have not been seen to end."""
    return [job_id for job_id in ledger.ids if job_id not in ledger.finals]


def _all_ended(ledger: Ledger, job_ids: list[str], load: Load) -> bool:
    load.top_up()
    return set(job_ids) <= ledger.finals.keys()


def test_a_job_that_was_taken_and_not_started_is_found(site: Site, small_picture: bytes) -> None:
    with site.ledger() as ledger, site.worker() as worker:
        job_id = site.submit(small_picture)
        ledger.add(job_id)
        # As a worker leaves it that dies between the two.
        line = Queue(QUEUE_NAME, connection=site.redis)
        assert site.redis.lmove(line.key, line.intermediate_queue_key)
        worker.start_and_wait()
        ledger.wait_until_ended()
        assert ledger.counts() == {JobStatus.SUCCEEDED: 1}
        assert site.starts(job_id) == 1
