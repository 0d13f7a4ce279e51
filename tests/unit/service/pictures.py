"""Small real pictures, encoded by Pillow."""

import io

from PIL import Image

FORMATS = ["PNG", "JPEG", "WEBP"]


def encoded(picture_format: str, width: int = 40, height: int = 30, **options: object) -> bytes:
    """A noisy RGB picture as a file of that format."""
    file = io.BytesIO()
    Image.effect_noise((width, height), 60).convert("RGB").save(file, picture_format, **options)
    return file.getvalue()


def animated(picture_format: str) -> bytes:
    """Two frames as a file of that format."""
    first, second = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (16, 16), "blue")
    file = io.BytesIO()
    first.save(file, picture_format, save_all=True, append_images=[second])
    return file.getvalue()


def flat_png(width: int, height: int) -> bytes:
    """A picture of one colour, whose file is tiny whatever its size."""
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, "PNG")
    return file.getvalue()
