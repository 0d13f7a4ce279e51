"""What writing a result costs: milliseconds of one core for each megapixel."""

import io
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from sr_models.upscaler import Upscaler
from tests.benchmarks.figures import Figure, in_turn, ratios
from tests.benchmarks.plan import Plan
from tests.benchmarks.site import Site, published
from tests.pictures import PHOTOGRAPHS
from worker.contract.jobs import PictureFormat
from worker.reading import picture_from_pillow
from worker.writing import encode

MODEL = "espcn"
"""Results are smoother than photographs, and so are quicker to compress: what is written here was enlarged."""
SIDE_PX = 160
"""Of what is cut from the middle of each photograph and enlarged."""


def encoders(site: Site, plan: Plan) -> list[Figure]:
    """PNG and JPEG by the worker, and PNG by Pillow at its level 1 and at 6, its default."""
    images = _enlarged_photographs(site.device)
    megapixels = sum(image.width * image.height for image in images) / 1e6
    pictures = [picture_from_pillow(image) for image in images]

    def ours(output_format: PictureFormat) -> Callable[[], float]:
        return lambda: _cost_ms(
            lambda: [encode(picture, output_format, None) for picture in pictures], megapixels
        )

    def pillows(level: int) -> Callable[[], float]:
        def save_all() -> None:
            for image in images:
                image.save(io.BytesIO(), "PNG", compress_level=level)

        return lambda: _cost_ms(save_all, megapixels)

    png_ms, jpeg_ms, level_1_ms, level_6_ms = in_turn(
        plan.runs, ours(PictureFormat.PNG), ours(PictureFormat.JPEG), pillows(1), pillows(6)
    )
    unit = "ms/MP"
    return [
        Figure("PNG by the worker, of one core", unit, png_ms),
        Figure("JPEG by the worker, of one core", unit, jpeg_ms),
        Figure("PNG by Pillow at level 1, of one core", unit, level_1_ms),
        Figure("PNG by Pillow at level 6, of one core", unit, level_6_ms),
        Figure("speed of the worker's PNG", "ratio", ratios(level_1_ms, by=png_ms), "Pillow's at level 1"),
        Figure("speed of the worker's PNG", "ratio", ratios(level_6_ms, by=png_ms), "Pillow's at level 6"),
    ]


def _enlarged_photographs(device: str) -> list[Image.Image]:
    upscaler = Upscaler.from_checkpoint(published(MODEL), device)
    enlarged = []
    for path in sorted(PHOTOGRAPHS.glob("*.png")):
        with Image.open(path) as image:
            left, top = (image.width - SIDE_PX) // 2, (image.height - SIDE_PX) // 2
            middle = image.convert("RGB").crop((left, top, left + SIDE_PX, top + SIDE_PX))
        enlarged.append(Image.fromarray(upscaler.upscale(np.asarray(middle))))
    return enlarged


def _cost_ms(write: Callable[[], object], megapixels: float) -> float:
    """Of this thread's processor time: what others do to the machine does not count."""
    started_s = time.thread_time()
    write()
    return (time.thread_time() - started_s) / megapixels * 1000
