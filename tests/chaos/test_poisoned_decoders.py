"""A picture that kills its decoder costs its own job: the worker lives on, and nobody else's job is begun twice."""

import os
import signal
import time
from pathlib import Path

from tests.chaos.scale import SCALE
from tests.chaos.site import Site
from tests.eventually import eventually
from tests.pictures import natural_picture
from tests.poisons import Poison, poisoned
from tests.processes import is_running, look_at
from worker.contract.jobs import JobStatus
from worker.errors import DecoderFailedError

WORKER = "tests.chaos.worker_of_poisoned_decoders"
TIMEOUT_S = 4.0
"""Of decoding: what ends LOOP. A fellow's picture takes milliseconds."""


def decoders_of(worker_pid: int) -> list[int]:
    """The processes that the worker has started."""
    pids = (int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat"))
    return [pid for pid in pids if (process := look_at(pid)) and process.parent == worker_pid]


def test_poisons_fail_alone_and_the_worker_lives(site: Site, large_picture: bytes) -> None:
    settings = {"ENLARGER_DECODE_TIMEOUT_S": str(TIMEOUT_S)}
    with site.ledger() as ledger, site.worker(module=WORKER, environment=settings) as worker:
        poisons, fellows = [], []
        for poison in (Poison.CRASH, Poison.BOMB, Poison.LOOP, Poison.CRASH):
            fellows += [site.submit(large_picture, model="espcn") for _ in range(SCALE.fellows // 4)]
            poisons.append(site.submit(poisoned(natural_picture(40, 30), poison), model="espcn"))
        for job_id in (*poisons, *fellows):
            ledger.add(job_id)
        worker.start_and_wait()
        pid = worker.pid
        eventually(lambda: len(ledger.finals) == len(ledger.ids), 300.0, "every job has ended")
        assert worker.running
        assert worker.pid == pid
        for job_id in poisons:
            failure = ledger.finals[job_id].failure
            assert failure is not None
            assert failure.code == DecoderFailedError.code
        assert ledger.counts() == {JobStatus.SUCCEEDED: len(fellows), JobStatus.FAILED: len(poisons)}
        assert {site.starts(job_id) for job_id in ledger.ids} == {1}
        for job_id in fellows:
            site.assert_result_whole(ledger.finals[job_id])
        worker.ask_to_stop()
        assert worker.wait() == 0


def test_decoders_killed_under_load_cost_a_job_each_at_most(site: Site, large_picture: bytes) -> None:
    with site.ledger() as ledger, site.worker() as worker:
        worker.start_and_wait()
        for _ in range(SCALE.fellows):
            ledger.add(site.submit(large_picture, model="espcn"))
        killed: set[int] = set()
        while len(killed) < SCALE.kills + 1 and len(ledger.finals) < SCALE.fellows:
            for pid in decoders_of(worker.pid):
                if pid not in killed and len(killed) < SCALE.kills + 1:
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
            time.sleep(0.05)
        assert killed
        eventually(lambda: len(ledger.finals) == SCALE.fellows, 300.0, "every job has ended")
        assert worker.running
        failed = [record for record in ledger.finals.values() if record.status is JobStatus.FAILED]
        assert len(failed) <= len(killed)
        for record in failed:
            assert record.failure is not None
            assert record.failure.code == DecoderFailedError.code
        again = site.submit(large_picture, model="espcn")
        ledger.add(again)
        eventually(lambda: again in ledger.finals, 60.0, "a job after that has ended")
        assert ledger.finals[again].status is JobStatus.SUCCEEDED


def test_a_worker_killed_while_it_decodes_leaves_no_process(site: Site) -> None:
    with site.worker(module=WORKER) as worker:
        worker.start_and_wait()
        job_id = site.submit(poisoned(natural_picture(40, 30), Poison.WAIT))
        eventually(lambda: site.in_state(JobStatus.PROCESSING, [job_id]), 60.0, "the poison is being decoded")
        decoders = decoders_of(worker.pid)
        assert decoders
        worker.kill()
        eventually(lambda: not any(map(is_running, decoders)), what="they died too")
