"""What a job costs besides its work."""

from collections.abc import Callable

from tests.benchmarks.figures import Bar, Figure, in_turn
from tests.benchmarks.plan import Plan
from tests.benchmarks.site import Site
from tests.samples import sample_job, sample_result
from worker.contract.jobs import JobResult, UpscaleJob

BAR = Bar(8.0, at_most=True)


class NoWork:
    """A processor that does nothing: what is left is queue and bookkeeping."""

    def process(
        self, job: UpscaleJob, on_progress: Callable[[float], None], canceled: Callable[[], bool]
    ) -> JobResult:
        return sample_result()

    def erase(self, job: UpscaleJob) -> None:
        pass

    def erase_input(self, job: UpscaleJob) -> None:
        pass


def bookkeeping(site: Site, plan: Plan) -> list[Figure]:
    """Milliseconds for each job: submitted, taken, and its result recorded."""
    jobs = [sample_job(f"bookkeeping-{number}") for number in range(plan.bookkeeping_jobs)]
    with site.worker(NoWork()):
        site.seconds_of(jobs)
        (took_s,) = in_turn(plan.runs, lambda: site.seconds_of(jobs))
    costs_ms = tuple(each_s / len(jobs) * 1000 for each_s in took_s)
    return [Figure("queue and bookkeeping for each job, its submission too", "ms", costs_ms, bar=BAR)]
