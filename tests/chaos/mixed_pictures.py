"""Pictures of every kind that may be sent, whole and broken."""

import io
import random
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from tests.pictures import natural_picture

MODES = {
    "PNG": ("L", "LA", "RGB", "RGBA", "P", "I;16", "1"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("L", "RGB", "I;16"),
    "GIF": ("L", "P"),
    "BMP": ("RGB",),
    "AVIF": ("RGB", "RGBA"),
}
SIDES_PX = (1, 2, 7, 33, 64, 130, 250)
LARGE_PX = (4000, 3000)
BROKEN_SHARE = 0.15


@dataclass(frozen=True)
class Mixed:
    """One of them."""

    label: str
    """What it is, for people."""
    content: bytes
    """The file."""
    size_px: tuple[int, int]
    """Width and height, as its header would say."""
    broken: bool
    """Whether it cannot be decoded."""


def mixed_pictures(count: int, large: int, seed: int) -> Iterator[Mixed]:
    """So many pictures, `large` of them of 12 megapixels; the same for the same seed."""
    chance = random.Random(seed)
    kinds = [(file_format, mode) for file_format, modes in MODES.items() for mode in modes]
    photograph = natural_picture(max(SIDES_PX), max(SIDES_PX), seed=1)
    # One well within the first fifth and one long after it: what they leave behind is in both measurements.
    large_at = {count // 20 + n * count // 2 for n in range(large)}
    for number in range(count):
        file_format, mode = kinds[number % len(kinds)]
        if number in large_at:
            yield _whole(photograph.resize(LARGE_PX), "RGB", "JPEG")
            continue
        size_px = (chance.choice(SIDES_PX), chance.choice(SIDES_PX))
        whole = _whole(photograph.crop((0, 0, *size_px)), mode, file_format)
        yield _broken(whole, chance) if chance.random() < BROKEN_SHARE else whole


def _whole(image: Image.Image, mode: str, file_format: str) -> Mixed:
    if mode == "I;16":
        image = image.convert("L").point(lambda v: v * 257, "I").convert("I;16")
    file = io.BytesIO()
    image.convert(mode).save(file, format=file_format)
    label = f"{file_format} {mode} {image.width}x{image.height}"
    return Mixed(label, file.getvalue(), image.size, broken=False)


def _broken(whole: Mixed, chance: random.Random) -> Mixed:
    content = whole.content
    kind = chance.choice(("cut off", "no picture", "header only"))
    if kind == "cut off":
        content = content[: len(content) * 2 // 3]
    elif kind == "no picture":
        content = chance.randbytes(200)
    else:
        content = content[:30]
    return Mixed(f"{whole.label}, {kind}", content, whole.size_px, broken=True)
