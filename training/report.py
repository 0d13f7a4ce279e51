"""A page that shows what the scores mean: the tables, and crops by every model side by side.

One HTML file without any other: pictures and script are inside, and its policy forbids it to load anything.
"""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

import numpy as np
import numpy.typing as npt
from PIL import Image

from sr_models.manifest import Checkpoint
from sr_models.upscaler import Upscaler
from training.dataset import Pair, UInt8Array, read_pairs
from training.evaluate import BASELINE, present_benchmarks
from training.score_table import Row, Table, tables
from training.scores import LR_BY, luma

TEMPLATE = Path(__file__).with_name("report.html")

CROP_PX = 144
"""HR pixels; a multiple of every scale."""

PICTURES_PER_SET = 2


@dataclass(frozen=True)
class Crop:
    """The same part of a picture, once for each that shows it."""

    title: str
    """Set, file, scale, and how LR was made."""
    panels: Mapping[str, UInt8Array]
    """By caption: LR as it is, then uint8 RGB of one size: bicubic first, the learnt models, HR last."""


def report(rows: Sequence[Row], checkpoints: Iterable[Checkpoint], folder: Path) -> str:
    """The page for rows that were measured on the sets below `folder`."""
    return Template(TEMPLATE.read_text("utf-8")).substitute(
        tables="\n".join(_table(table) for table in tables(rows)),
        crops="\n".join(_section(crop) for crop in crops(rows, checkpoints, folder)),
    )


def crops(rows: Sequence[Row], checkpoints: Iterable[Checkpoint], folder: Path) -> list[Crop]:
    """Of a few pictures of each set the most detailed part, for each degradation and scale that was scored."""
    by_label = {c.manifest.label: c for c in checkpoints}
    upscalers = {row.checkpoint: Upscaler.from_checkpoint(by_label[row.checkpoint]) for row in rows}
    result = []
    for degradation in LR_BY:
        scored = [row for row in rows if any(s.degradation == degradation for s in row.scores)]
        for scale in sorted({row.scale for row in scored}):
            shown = [upscalers[row.checkpoint] for row in scored if row.scale == scale]
            for benchmark in present_benchmarks(folder):
                pairs = read_pairs(folder / benchmark, scale, degradation)
                for pair in pairs[:: -(-len(pairs) // PICTURES_PER_SET)]:
                    title = f"{benchmark}: {pair.name}, x{scale}, LR by {LR_BY[degradation]}"
                    result.append(Crop(title, _panels(pair, shown)))
    return result


def _panels(pair: Pair, upscalers: Sequence[Upscaler]) -> dict[str, UInt8Array]:
    scale = upscalers[0].scale
    side_px = min(CROP_PX // scale, *pair.lr.shape[:2])
    top, left = detailed_place(luma(pair.lr), side_px)
    panels = {"LR, as it is": pair.lr[top : top + side_px, left : left + side_px]}
    for upscaler in upscalers:
        panels[upscaler.manifest.label] = _enlarged(pair.lr, top, left, side_px, upscaler)
    panels["HR"] = pair.hr[top * scale :, left * scale :][: side_px * scale, : side_px * scale]
    return panels


def _enlarged(lr_HWC: UInt8Array, top: int, left: int, side_px: int, upscaler: Upscaler) -> UInt8Array:
    """The square as it is in the whole enlarged picture, from as much around it as it depends on."""
    halo_px, scale = upscaler.manifest.halo_px, upscaler.scale
    first_row, first_column = max(0, top - halo_px), max(0, left - halo_px)
    seen = lr_HWC[first_row : top + side_px + halo_px, first_column : left + side_px + halo_px]
    sr = upscaler.upscale(np.ascontiguousarray(seen))
    sr = sr[(top - first_row) * scale :, (left - first_column) * scale :]
    return sr[: side_px * scale, : side_px * scale]


def detailed_place(luma_HW: npt.NDArray[np.float64], side_px: int) -> tuple[int, int]:
    """Top and left of the square where neighbouring pixels differ most."""
    gradient = np.zeros_like(luma_HW)
    gradient[:, 1:] += np.abs(np.diff(luma_HW, axis=1))
    gradient[1:, :] += np.abs(np.diff(luma_HW, axis=0))
    summed = np.pad(gradient.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    n = side_px
    detail = summed[n:, n:] - summed[:-n, n:] - summed[n:, :-n] + summed[:-n, :-n]
    top, left = np.unravel_index(detail.argmax(), detail.shape)
    return int(top), int(left)


def _table(table: Table) -> str:
    heading = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in table.heading)
    lines = "\n".join(
        f'<tr class="{"baseline" if line[0].startswith(BASELINE) else "learnt"}">'
        f'<th scope="row">{escape(line[0])}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in line[1:])
        + "</tr>"
        for line in table.lines
    )
    return (
        f'<div class="wide"><table><caption>{escape(table.title)}</caption>\n'
        f"<thead><tr>{heading}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>"
    )


def _section(crop: Crop) -> str:
    figures = "\n".join(
        f'<figure><img src="{_data_uri(picture)}" alt="{escape(caption)}"><figcaption>{escape(caption)}</figcaption></figure>'
        for caption, picture in crop.panels.items()
    )
    return f'<section class="crop"><h3>{escape(crop.title)}</h3>\n<div class="panels">\n{figures}\n</div></section>'


def _data_uri(rgb_HWC: UInt8Array) -> str:
    """Lossless, so that no codec adds what no model made."""
    file = io.BytesIO()
    Image.fromarray(rgb_HWC).save(file, "WEBP", lossless=True)
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
