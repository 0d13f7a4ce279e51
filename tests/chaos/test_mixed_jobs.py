"""Jobs of every kind, good and broken: each ends as it must, and the worker's memory does not grow."""

import random

from tests.chaos.ledger import Ledger
from tests.chaos.mixed_pictures import Mixed, mixed_pictures
from tests.chaos.scale import SCALE, SEED
from tests.chaos.site import Site
from tests.chaos.worker_process import WorkerProcess
from tests.eventually import eventually
from worker.contract.fleet import RqFleet
from worker.contract.jobs import JobStatus, PictureFormat

CODES = {"picture_damaged", "picture_unsupported"}
"""Of a picture that cannot be decoded, in docs/errors.md."""
BATCHES = 10
"""Each is queued at once, and the worker's memory is read after it."""


def test_each_ends_as_it_must_and_memory_does_not_grow(site: Site) -> None:
    print(f"ENLARGER_CHAOS_SEED={SEED}")
    pictures = list(mixed_pictures(SCALE.mixed_jobs, SCALE.large_pictures, SEED))
    size = len(pictures) // BATCHES
    with site.ledger() as ledger, site.worker() as worker:
        worker.start_and_wait()
        sent: dict[str, Mixed] = {}
        resident = [
            _resident_mb_after(site, ledger, worker, pictures[first : first + size], sent)
            for first in range(0, len(pictures), size)
        ]
        print("resident, in MB:", *(f"{mb:.0f}" for mb in resident))
        for job_id, picture in sent.items():
            record = ledger.finals[job_id]
            if picture.broken:
                assert record.failure is not None, picture.label
                assert record.failure.code in CODES, picture.label
                assert not record.failure.retryable
            else:
                assert record.status is JobStatus.SUCCEEDED, (picture.label, record.failure)
                assert record.result is not None
                width, height = picture.size_px
                assert (record.result.width_px, record.result.height_px) == (2 * width, 2 * height)
                site.assert_result_whole(record)
            assert site.starts(job_id) == 1
        assert worker.running
        assert resident[-1] <= SCALE.memory_growth * resident[BATCHES // 5 - 1], resident


def _resident_mb_after(
    site: Site, ledger: Ledger, worker: WorkerProcess, pictures: list[Mixed], sent: dict[str, Mixed]
) -> float:
    """The worker's memory once it has done these."""
    chance = random.Random(len(sent))
    for picture in pictures:
        job_id = site.submit(
            picture.content,
            size_px=picture.size_px,
            model=chance.choice(("bicubic", "espcn")),
            output_format=chance.choice(list(PictureFormat)),
        )
        sent[job_id] = picture
        ledger.add(job_id)
    ledger.wait_until_ended(timeout_s=600.0)
    eventually(lambda: [w.state for w in RqFleet(site.redis).live_workers()] == ["idle"], 20.0, "it is idle")
    return worker.resident_bytes / 1e6
