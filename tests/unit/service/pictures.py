"""Small real pictures, encoded by Pillow."""

import io

from PIL import Image

from worker.contract.jobs import InputFormat

FORMATS = {
    "PNG": InputFormat.PNG,
    "JPEG": InputFormat.JPEG,
    "WEBP": InputFormat.WEBP,
    "TIFF": InputFormat.TIFF,
    "AVIF": InputFormat.AVIF,
    "BMP": InputFormat.BMP,
    "GIF": InputFormat.GIF,
    "PPM": InputFormat.PPM,
    "JPEG2000": InputFormat.JP2,
}
"""By Pillow's names."""
WITH_EXIF = ("PNG", "JPEG", "WEBP", "TIFF")
"""Those that Pillow writes EXIF's orientation into."""


def encoded(picture_format: str, width: int = 40, height: int = 30, **options: object) -> bytes:
    """A noisy RGB picture as a file of that format."""
    file = io.BytesIO()
    Image.effect_noise((width, height), 60).convert("RGB").save(file, picture_format, **options)
    return file.getvalue()


def animated(picture_format: str, side_px: int = 16) -> bytes:
    """Two frames as a file of that format."""
    first, second = (Image.new("RGB", (side_px, side_px), colour) for colour in ("red", "blue"))
    file = io.BytesIO()
    first.save(file, picture_format, save_all=True, append_images=[second])
    return file.getvalue()


def flat_png(width: int, height: int) -> bytes:
    """A picture of one colour, whose file is tiny whatever its size."""
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, "PNG")
    return file.getvalue()
