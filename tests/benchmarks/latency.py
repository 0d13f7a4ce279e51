"""How long a small job takes while a huge one runs, against the same without it."""

import time
from itertools import count
from statistics import median

from tests.benchmarks.figures import Bar, Figure, in_turn, percentile, ratios
from tests.benchmarks.plan import Plan
from tests.benchmarks.site import SCALE, Site, published
from tests.eventually import eventually
from tests.pictures import encoded, natural_picture
from worker.contract.jobs import PictureFormat, UpscaleJob

SMALL_PX = 200
POLL_S = 0.002
PERCENT = 95
TIMEOUT_S = 600.0
BARS = {"cpu": Bar(2.5, at_most=True), "cuda": Bar(2.0, at_most=True)}


def latency(site: Site, plan: Plan) -> list[Figure]:
    """The 95th percentile beside a huge job as a multiple of the one without."""
    client = Client(site, plan)
    with site.worker():
        client.warm_up()
        alone_s, beside_s = in_turn(plan.runs, client.p95_s, client.p95_beside_large_s)
    width_px, height_px = plan.large_px
    result_megapixels = width_px * height_px * SCALE**2 / 1e6
    return [
        Figure(
            f"p{PERCENT} of {plan.latency_jobs} jobs of {SMALL_PX}x{SMALL_PX} beside one with {result_megapixels:.0f} MP out, "
            f"{published(plan.model).manifest.label}",
            "ratio",
            ratios(beside_s, by=alone_s),
            "the same without it",
            BARS.get(site.device_kind),
            f"{median(beside_s) * 1000:.0f} ms against {median(alone_s) * 1000:.0f}",
        )
    ]


class Client:
    """Sends small jobs one after the other and, if asked to, sees to it that a huge one runs all the time."""

    def __init__(self, site: Site, plan: Plan) -> None:
        self._site = site
        self._plan = plan
        self._small = encoded(natural_picture(SMALL_PX, SMALL_PX), "JPEG")
        self._large = encoded(natural_picture(*plan.large_px), "JPEG")
        self._numbers = count()

    def warm_up(self) -> None:
        """So that the model is loaded and its passes are measured."""
        for _ in range(3):
            self._small_job_s()

    def p95_s(self) -> float:
        """Of as many small jobs as planned, from submission to being seen to have succeeded."""
        return percentile([self._small_job_s() for _ in range(self._plan.latency_jobs)], PERCENT)

    def p95_beside_large_s(self) -> float:
        """The same while a huge job runs."""
        large: list[UpscaleJob] = []
        self._keep_running(large)
        eventually(lambda: self._site.record(large[0]).progress, TIMEOUT_S, "the huge job has begun")
        times_s = []
        for _ in range(self._plan.latency_jobs):
            times_s.append(self._small_job_s())
            self._keep_running(large)
        for job in large:
            self._site.queue.cancel(job.id)
        eventually(lambda: not self._site.queue.statistics().processing, TIMEOUT_S, "the huge job has ended")
        for job in large:
            self._site.blobs.erase(job.prefix)
        return percentile(times_s, PERCENT)

    def _keep_running(self, large: list[UpscaleJob]) -> None:
        """One runs and one waits, to start when that ends: two are not in flight at once (worker.memory_budget)."""
        while sum(not self._site.record(job).status.final for job in large) < 2:
            large.append(self._job(self._large))
            self._site.queue.submit(large[-1])

    def _small_job_s(self) -> float:
        job = self._job(self._small)
        started_s = time.perf_counter()
        self._site.queue.submit(job)
        while not self._site.record(job).status.final:
            time.sleep(POLL_S)
        took_s = time.perf_counter() - started_s
        self._site.blobs.erase(job.prefix)
        return took_s

    def _job(self, content: bytes) -> UpscaleJob:
        return self._site.job(f"latency-{next(self._numbers)}", content, self._plan.model, PictureFormat.JPEG)
