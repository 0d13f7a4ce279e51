"""A picture that kills the process takes no other job with it."""

import io
import signal

from PIL import Image

from tests.chaos.poisoned_worker import POISON
from tests.chaos.scale import SCALE
from tests.chaos.site import Site
from tests.eventually import eventually
from tests.pictures import natural_picture
from worker.contract.jobs import JobStatus
from worker.contract.queue import MAX_ATTEMPTS, WORKER_LOST


def poisoned(image: Image.Image) -> bytes:
    """The picture as a PNG with the poison for its profile."""
    file = io.BytesIO()
    image.save(file, format="PNG", icc_profile=POISON)
    return file.getvalue()


def test_the_poison_fails_alone(site: Site, large_picture: bytes) -> None:
    with site.ledger() as ledger, site.worker(module="tests.chaos.poisoned_worker") as worker:
        half = SCALE.fellows // 2
        fellows = [site.submit(large_picture, model="espcn") for _ in range(half)]
        poison = site.submit(poisoned(natural_picture(40, 30)), model="espcn")
        fellows += [site.submit(large_picture, model="espcn") for _ in range(SCALE.fellows - half)]
        for job_id in (poison, *fellows):
            ledger.add(job_id)
        deaths = 0

        def ended_though_it_died() -> bool:
            """Start the worker whenever it has died, as a supervisor does."""
            nonlocal deaths
            if not worker.running:
                if deaths:
                    assert worker.exit_status == -signal.SIGSEGV, worker.log
                worker.start()
                deaths += 1
            return len(ledger.finals) == len(ledger.ids)

        eventually(ended_though_it_died, 300.0, "every job has ended")
        assert ledger.finals[poison].failure == WORKER_LOST
        assert site.starts(poison) == MAX_ATTEMPTS
        assert deaths == 1 + MAX_ATTEMPTS
        assert ledger.counts() == {JobStatus.SUCCEEDED: SCALE.fellows, JobStatus.FAILED: 1}
        starts = [site.starts(job_id) for job_id in fellows]
        assert max(starts) == 2, "no fellow was in flight when the poison struck: nothing was shown"
        for job_id in fellows:
            site.assert_result_whole(ledger.finals[job_id])
