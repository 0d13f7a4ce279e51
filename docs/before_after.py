"""Makes docs/images/before-after.png, the README's picture, from a free photograph: python docs/before_after.py"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import enlarger
from training.degradation import matlab_bicubic

SCALE = 3
HERE = Path(__file__).parent
PHOTOGRAPH = HERE.parent / "tests" / "photographs" / "cat.png"
PART = (60, 30, 300, 261)
"""Left, top, right, bottom. It is reduced by SCALE first, so that one can judge what comes back."""


def main() -> None:
    """Write the picture: the small part, enlarged by bicubic, and enlarged by ESPCN."""
    part = Image.fromarray(matlab_bicubic(np.asarray(Image.open(PHOTOGRAPH).crop(PART)), SCALE))
    size = (part.width * SCALE, part.height * SCALE)
    panels = {
        f"before: {part.width}x{part.height} pixels": part.resize(size, Image.Resampling.NEAREST),
        f"bicubic, {SCALE} times": enlarger.upscale(part, SCALE, "bicubic"),
        f"after: espcn, {SCALE} times": enlarger.upscale(part, SCALE, "espcn"),
    }
    gap, caption = 8, 28
    sheet = Image.new("RGB", (3 * size[0] + 2 * gap, size[1] + caption), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (label, panel) in enumerate(panels.items()):
        left = number * (size[0] + gap)
        sheet.paste(panel, (left, 0))
        draw.text((left + 2, size[1] + 5), label, fill="black", font=ImageFont.load_default(16))
    sheet.save(HERE / "images" / "before-after.png", optimize=True)


if __name__ == "__main__":
    main()
