"""Pictures of a run for a person: its curve, and crops of LR, bicubic, the network and HR beside each other."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from sr_models.bicubic import Bicubic
from sr_models.upscaler import Upscaler
from training.dataset import Pair, UInt8Array

CROP_PX = 40
"""LR pixels of a crop's side."""

CROPS = 5
"""Pictures in the grid."""


def draw_curve(curve: Sequence[dict[str, float]], title: str, path: Path) -> None:
    """The loss and, where there was a validation set, the PSNR over the steps, as PNG."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([p["step"] for p in curve], [p["loss"] for p in curve], color="tab:gray", label="loss")
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel("loss (mean of the last 500 steps)")
    axes.set_title(title)
    validated = [p for p in curve if "psnr_db" in p]
    if validated:
        beside = axes.twinx()
        beside.plot([p["step"] for p in validated], [p["psnr_db"] for p in validated], color="tab:blue")
        beside.set_ylabel("validation, luma PSNR in dB", color="tab:blue")
    partial = path.with_suffix(".partial")
    figure.savefig(partial, dpi=100, format="png")
    partial.replace(path)


def draw_crops(upscaler: Upscaler, pairs: Sequence[Pair], path: Path) -> None:
    """A row for each picture: LR, bicubic, the network, HR; the most detailed crop of each, as PNG."""
    rows = [_row(upscaler, pair) for pair in pairs[:CROPS]]
    width = max(row.shape[1] for row in rows)
    grid = np.concatenate(
        [np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    )
    picture = Image.new("RGB", (grid.shape[1], grid.shape[0] + 14), "white")
    picture.paste(Image.fromarray(grid), (0, 14))
    pen = ImageDraw.Draw(picture)
    for column, title in enumerate(("LR", "bicubic", "network", "HR")):
        pen.text((column * (CROP_PX * upscaler.scale + 4) + 2, 1), title, fill="black")
    partial = path.with_suffix(".partial")
    picture.save(partial, "PNG")
    partial.replace(path)


def _row(upscaler: Upscaler, pair: Pair) -> UInt8Array:
    scale = upscaler.scale
    top, left = _most_detailed(pair.lr)
    lr = pair.lr[top : top + CROP_PX, left : left + CROP_PX]
    hr = pair.hr[top * scale : (top + CROP_PX) * scale, left * scale : (left + CROP_PX) * scale]
    nearest = lr.repeat(scale, axis=0).repeat(scale, axis=1)
    crops = [nearest, _bicubic(lr, scale), upscaler.upscale(lr), hr]
    return np.concatenate(
        [np.pad(crop, ((0, 0), (0, 4), (0, 0)), constant_values=255) for crop in crops], axis=1
    )


def _bicubic(lr_HWC: UInt8Array, scale: int) -> UInt8Array:
    larger = Bicubic(scale)(torch.from_numpy(lr_HWC.copy()).permute(2, 0, 1)[None].float())
    samples: UInt8Array = larger[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()
    return samples


def _most_detailed(lr_HWC: UInt8Array) -> tuple[int, int]:
    """The place of the crop with the largest variance among some that tile the picture."""
    height, width = lr_HWC.shape[:2]
    places = [
        (top, left)
        for top in range(0, max(1, height - CROP_PX + 1), CROP_PX // 2)
        for left in range(0, max(1, width - CROP_PX + 1), CROP_PX // 2)
    ]
    return max(places, key=lambda p: float(lr_HWC[p[0] : p[0] + CROP_PX, p[1] : p[1] + CROP_PX].var()))
