"""Makes docs/images/models-x4.png, the picture of docs/models.md: .venv/bin/python docs/model_crops.py

The same part of a free photograph by every published model at x4, beside LR and the original.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import enlarger
from training.degradation import matlab_bicubic

SCALE = 4
COLUMNS = 4
GAP, CAPTION = 8, 26
HERE = Path(__file__).parent
PHOTOGRAPH = HERE.parent / "tests" / "photographs" / "astronaut.png"
WHOLE = (0, 0, 300, 300)
"""Reduced by SCALE as a whole, so that no model sees the part's border."""
PART = (80, 20, 264, 204)
"""Left, top, right, bottom, in HR pixels: multiples of SCALE."""
MODELS = ("bicubic", "espcn", "srresnet", "edsr-baseline", "srgan", "edsr-photo")


def main() -> None:
    """Write the picture."""
    hr = Image.open(PHOTOGRAPH).convert("RGB").crop(WHOLE)
    lr = Image.fromarray(matlab_bicubic(np.asarray(hr), SCALE))
    panels = {"LR": lr.resize(hr.size, Image.Resampling.NEAREST)}
    panels |= {model: enlarger.upscale(lr, SCALE, model) for model in MODELS}
    panels["original"] = hr
    width, height = PART[2] - PART[0], PART[3] - PART[1]
    rows = -(-len(panels) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (width + GAP) - GAP, rows * (height + CAPTION)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (label, panel) in enumerate(panels.items()):
        left, top = number % COLUMNS * (width + GAP), number // COLUMNS * (height + CAPTION)
        sheet.paste(panel.crop(PART), (left, top))
        draw.text((left + 2, top + height + 4), label, fill="black", font=ImageFont.load_default(15))
    sheet.save(HERE / "images" / "models-x4.png", optimize=True)


if __name__ == "__main__":
    main()
