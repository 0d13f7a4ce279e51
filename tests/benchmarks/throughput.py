"""What reading, writing, the queue and the store cost beside the network: many equal pictures through the worker."""

from statistics import median

import numpy as np

from tests.benchmarks.bare_loop import BareLoop
from tests.benchmarks.figures import Bar, Figure, in_turn, ratios
from tests.benchmarks.plan import Plan
from tests.benchmarks.site import SCALE, Site, published
from tests.pictures import encoded, natural_picture
from worker.contract.jobs import PictureFormat, UpscaleJob

MODEL = "edsr-baseline"
SMALL_MODEL = "espcn"
DIFFERENT = 8
"""Pictures that differ; what they show matters to the encoders only."""
JPEG, PNG = PictureFormat.JPEG, PictureFormat.PNG
BARS = {
    ("cpu", JPEG): Bar(0.94),
    ("cpu", PNG): Bar(0.88),
    ("cuda", JPEG): Bar(0.85),
    ("cuda", PNG): Bar(0.85),
}


def worker_throughput(site: Site, plan: Plan) -> list[Figure]:
    """The worker's pictures a second as a share of the bare loop's."""
    pictures_NHWC = np.stack(
        [np.asarray(natural_picture(plan.side_px, plan.side_px, n % DIFFERENT)) for n in range(plan.pictures)]
    )
    checkpoint = published(MODEL)
    bare = BareLoop(checkpoint, pictures_NHWC, site.device)
    jpeg_jobs, png_jobs = (_jobs(site, plan, MODEL, each) for each in (JPEG, PNG))
    with site.worker():
        site.seconds_of(jpeg_jobs[:1])  # loads the model and measures its passes
        bare_s, jpeg_s, png_s = in_turn(
            plan.runs, bare.seconds, lambda: site.seconds_of(jpeg_jobs), lambda: site.seconds_of(png_jobs)
        )
    return [
        Figure(
            f"worker, {_described(plan)}, {checkpoint.manifest.label}, {output_format} out",
            "ratio",
            ratios(bare_s, by=took_s),
            f"the bare network, {bare.batch} a pass",
            BARS.get((site.device_kind, output_format)),
            f"{plan.pictures / median(took_s):.2f} pictures/s against {plan.pictures / median(bare_s):.2f}",
        )
        for output_format, took_s in ((JPEG, jpeg_s), (PNG, png_s))
    ]


def small_network(site: Site, plan: Plan) -> list[Figure]:
    """Megapixels of results a second where the network is so quick that all the rest shows."""
    jpeg_jobs, png_jobs = (_jobs(site, plan, SMALL_MODEL, each) for each in (JPEG, PNG))
    with site.worker():
        site.seconds_of(jpeg_jobs)
        jpeg_s, png_s = in_turn(
            plan.runs, lambda: site.seconds_of(jpeg_jobs), lambda: site.seconds_of(png_jobs)
        )
    result_megapixels = plan.pictures * (plan.side_px * SCALE) ** 2 / 1e6
    return [
        Figure(
            f"worker, {_described(plan)}, {published(SMALL_MODEL).manifest.label}, {output_format} out",
            "MP/s",
            tuple(result_megapixels / each_s for each_s in took_s),
        )
        for output_format, took_s in ((JPEG, jpeg_s), (PNG, png_s))
    ]


def _jobs(site: Site, plan: Plan, model: str, output_format: PictureFormat) -> list[UpscaleJob]:
    contents = [
        encoded(natural_picture(plan.side_px, plan.side_px, seed), "JPEG") for seed in range(DIFFERENT)
    ]
    return [
        site.job(f"{model}-{output_format}-{number}", contents[number % DIFFERENT], model, output_format)
        for number in range(plan.pictures)
    ]


def _described(plan: Plan) -> str:
    return f"{plan.pictures} jobs of {plan.side_px}x{plan.side_px}"
