"""How much of the device's arithmetic the forward pass gets, with a matrix product as the yardstick."""

from collections.abc import Callable
from statistics import median

import numpy as np
import torch

from sr_models.checkpoint import load
from sr_models.cost import multiply_adds
from sr_models.upscaler import DEFAULT_TILE_PX, Upscaler
from tests.benchmarks.figures import Bar, Figure, in_turn, ratios
from tests.benchmarks.plan import Plan
from tests.benchmarks.site import Site, published
from tests.benchmarks.stopwatch import seconds
from tests.pictures import natural_picture
from worker.device import Precision, choose_dtype
from worker.engine import Engine

MODEL = "edsr-baseline"
PRODUCTS = 3
"""The quickest of these is a yardstick's one value."""
BARS = {"cpu": Bar(0.60), "cuda": Bar(0.35)}


def arithmetic(site: Site, plan: Plan) -> list[Figure]:
    """The engine's multiply-adds a second over one picture, as a share of a matrix product's.

    Only those count that the kept pixels need: what is computed for halos is waste. The bar is for the quicker of the
    two products, since a CPU without AMX may be slow in bfloat16.
    """
    checkpoint = published(MODEL)
    dtype = choose_dtype(Precision.AUTO, site.device)
    upscaler = Upscaler.from_checkpoint(checkpoint, site.device, dtype)
    width_px, height_px = plan.pass_px
    picture_HWC = np.asarray(natural_picture(width_px, height_px))
    needed = multiply_adds(load(checkpoint), height_px, width_px)
    engine = Engine(
        tile_px=DEFAULT_TILE_PX, threads=torch.get_num_threads() if site.device_kind == "cpu" else 0
    )
    try:
        engine.submit(upscaler, [picture_HWC[:64, :64]]).result()  # measures how many tiles share a pass
        network, bfloat16, float32 = in_turn(
            plan.runs,
            lambda: needed / seconds(lambda: engine.submit(upscaler, [picture_HWC]).result()),
            _product_rate(plan.matrix, torch.bfloat16, site.device),
            _product_rate(plan.matrix, torch.float32, site.device),
        )
    finally:
        engine.close()
    name = f"forward pass over {width_px * height_px / 1e6:.1f} MP, {checkpoint.manifest.label} in {_name(dtype)}"
    product = f"product of {plan.matrix}x{plan.matrix}"
    better = tuple(map(max, bfloat16, float32))
    note = f"{median(network) / 1e9:.0f} G multiply-adds/s against"
    return [
        Figure(
            name,
            "ratio",
            ratios(network, by=better),
            f"the quicker matrix {product}",
            BARS.get(site.device_kind),
            f"{note} {median(better) / 1e9:.0f}",
        ),
        *(
            Figure(
                name,
                "ratio",
                ratios(network, by=rates),
                f"a {kind} {product}",
                note=f"{note} {median(rates) / 1e9:.0f}",
            )
            for kind, rates in (("bfloat16", bfloat16), ("float32", float32))
        ),
    ]


def _product_rate(size: int, dtype: torch.dtype, device: str) -> Callable[[], float]:
    """Multiply-adds a second of a square product, at its best."""
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    torch.mm(left, right)
    return lambda: size**3 / min(seconds(lambda: torch.mm(left, right)) for _ in range(PRODUCTS))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
