"""How long those who wait are told that they will."""

from dataclasses import replace

import pytest

from service.estimates import Estimates
from service.limits import Limits
from tests.samples import SettableFleet, sample_job
from tests.unit.service.conftest import LIMITS, World, client_with
from tests.unit.service.pictures import encoded
from worker.contract.backlog import Backlog
from worker.contract.queue import JobQueue

pytestmark = pytest.mark.anyio

EDSR = 1_450_000
"""With what is done beside a network, 1.5 million multiply-adds for each of a sample job's 1200 pixels: 1800 million."""


@pytest.mark.parametrize(
    ("mmac", "seconds"), [(1.0, 1.0), (5_040.0, 5.0), (99_400.0, 99.0), (123_000.0, 120.0)]
)
def test_an_estimate_is_no_more_precise_than_it_can_be(queue: JobQueue, mmac: float, seconds: float) -> None:
    fleet = SettableFleet()
    fleet.mmac_per_s = 1000.0
    assert Estimates(queue, fleet).time_left_s(Backlog(1, 1, mmac)) == seconds


def test_workers_share_the_work(queue: JobQueue) -> None:
    fleet = SettableFleet(("a", "b", "c", "d"))
    fleet.mmac_per_s = 1000.0
    assert Estimates(queue, fleet).time_left_s(Backlog(1, 1, 40_000.0)) == 10.0


@pytest.mark.parametrize("names", [(), ("worker-1",)])
def test_nobody_guesses_before_anything_is_done(queue: JobQueue, names: tuple[str, ...]) -> None:
    assert Estimates(queue, SettableFleet(names)).time_left_s(Backlog(1, 1, 40_000.0)) is None


async def test_a_job_that_waits_says_how_long(world: World) -> None:
    world.fleet.mmac_per_s = 100.0
    for name in "ab":
        world.queue.submit(replace(sample_job(name), parameters=EDSR))
    response = await world.client.get("/jobs/b")
    job = response.json()
    assert (job["position"], job["time_left_s"], response.headers["retry-after"]) == (2, 36.0, "18")
    world.worker.start("a")
    world.worker.report("a", 0.5)
    response = await world.client.get("/jobs/b")
    job = response.json()
    assert (job["position"], job["time_left_s"], response.headers["retry-after"]) == (1, 27.0, "14")
    running = (await world.client.get("/jobs/a")).json()
    assert (running["position"], running["time_left_s"]) == (None, None)


async def test_the_answer_to_an_upload_says_it_too(world: World) -> None:
    world.fleet.mmac_per_s = 1.0
    world.queue.submit(replace(sample_job("a"), parameters=EDSR))
    response = await world.post({"model": "espcn"})
    assert response.json()["time_left_s"] > 1800
    assert response.headers["retry-after"] == "30"


@pytest.mark.parametrize(("mmac_per_s", "told"), [(None, "30"), (10.0, "18"), (1e6, "1")])
async def test_whoever_is_refused_hears_when_there_is_room(
    world: World, mmac_per_s: float | None, told: str
) -> None:
    world.fleet.mmac_per_s = mmac_per_s
    world.queue.submit(replace(sample_job("a"), parameters=EDSR))
    limits: Limits = replace(LIMITS, max_queued_jobs=1)
    async with client_with(world, limits=limits) as client:
        response = await client.post("/upscale", files={"image": ("a.png", encoded("PNG"))})
    assert (response.status_code, response.headers["retry-after"]) == (503, told)
