"""Pictures of many sizes: what sharing passes and overlapping the stages gives over one picture at a time."""

from statistics import median

import numpy as np

from sr_models.upscaler import Upscaler
from tests.benchmarks.figures import Bar, Figure, in_turn, ratios
from tests.benchmarks.plan import Plan
from tests.benchmarks.site import Site, published
from tests.benchmarks.stopwatch import seconds
from tests.pictures import encoded, natural_picture
from worker.contract.jobs import PictureFormat
from worker.device import Precision, choose_dtype
from worker.reading import decode
from worker.writing import encode

SMALLEST_PX, LARGEST_PX = 100, 1200
BARS = {"cpu": Bar(1.10), "cuda": Bar(3.0)}


def mixed_sizes(site: Site, plan: Plan) -> list[Figure]:
    """The worker's pictures a second as a multiple of a script's."""
    contents = [
        encoded(natural_picture(width_px, height_px, seed), "JPEG")
        for seed, (width_px, height_px) in enumerate(sizes_px(plan.mixed_pictures))
    ]
    checkpoint = published(plan.model)
    dtype = choose_dtype(Precision.AUTO, site.device)
    upscaler = Upscaler.from_checkpoint(checkpoint, site.device, dtype)
    jobs = [site.job(f"mixed-{n}", c, plan.model, PictureFormat.JPEG) for n, c in enumerate(contents)]
    with site.worker():
        site.seconds_of(jobs[:4])
        _one_at_a_time(contents[:4], upscaler)
        script_s, ours_s = in_turn(
            plan.runs,
            lambda: seconds(lambda: _one_at_a_time(contents, upscaler)),
            lambda: site.seconds_of(jobs),
        )
    return [
        Figure(
            f"worker, {len(jobs)} pictures of {SMALLEST_PX} to {LARGEST_PX} px a side, {checkpoint.manifest.label}, JPEG in and out",
            "ratio",
            ratios(script_s, by=ours_s),
            "one picture at a time, untiled, decoded and encoded in line",
            BARS.get(site.device_kind),
            f"{len(jobs) / median(ours_s):.2f} pictures/s against {len(jobs) / median(script_s):.2f}",
        )
    ]


def sizes_px(count: int) -> list[tuple[int, int]]:
    """Widths and heights: the longer side heavy-tailed, as uploads' are, the other at least half of it. The same each time."""
    rng = np.random.default_rng(0)
    longer = np.clip(SMALLEST_PX * (1 + rng.pareto(1.3, count)), SMALLEST_PX, LARGEST_PX)
    shorter = np.maximum(longer * rng.uniform(0.5, 1.0, count), SMALLEST_PX)
    upright = rng.random(count) < 0.5
    return [
        (int(shorter[n]), int(longer[n])) if upright[n] else (int(longer[n]), int(shorter[n]))
        for n in range(count)
    ]


def _one_at_a_time(contents: list[bytes], upscaler: Upscaler) -> None:
    """What a script does, with the worker's own decoder and encoder: no figure should come of a slow baseline."""
    for content in contents:
        picture = decode(content)
        larger = picture.with_planes([upscaler.enlarge(plane[None])[0] for plane in picture.planes])
        encode(larger, PictureFormat.JPEG, None)
