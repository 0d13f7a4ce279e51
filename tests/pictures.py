"""Pictures for tests. Synthetic, but with what photographs have: soft ground, fine grain, hard edges."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

PHOTOGRAPHS = Path(__file__).parent / "photographs"
"""Free photographs; see the README there."""


def natural_picture(width_px: int, height_px: int, seed: int = 0) -> Image.Image:
    """An RGB picture whose spectrum falls as a photograph's does, with overlapping shapes before it."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height_px)[:, None], np.fft.rfftfreq(width_px)[None, :])
    frequency[0, 0] = np.inf
    # Channels of a photograph are much alike: one common part, and a little of each one's own.
    noise = [rng.standard_normal((height_px, width_px)) for _ in range(4)]
    pink = [np.fft.irfft2(np.fft.rfft2(n) / frequency, s=(height_px, width_px)) for n in noise]
    ground = np.stack([pink[0] + 0.3 * own for own in pink[1:]], axis=-1)
    samples = (128 + 45 * (ground - ground.mean()) / max(ground.std(), 1e-9)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(samples)
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = rng.integers(0, width_px), rng.integers(0, height_px)
        across = int(rng.integers(4, max(5, min(width_px, height_px) // 3)))
        box = (int(x), int(y), int(x) + across, int(y) + across)
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        draw.ellipse(box, fill=colour) if rng.random() < 0.5 else draw.rectangle(box, outline=colour, width=2)
    return image.filter(ImageFilter.GaussianBlur(0.4))


def encoded(image: Image.Image, file_format: str) -> bytes:
    """The picture as a file."""
    file = io.BytesIO()
    image.save(file, format=file_format)
    return file.getvalue()
