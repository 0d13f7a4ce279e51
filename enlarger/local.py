"""Enlarging from Python, in this process."""

import io
import os
from pathlib import Path

from PIL import Image

from sr_models.manifest import AUTO
from worker.contract.jobs import PictureFormat
from worker.images import encode, picture_from_pillow
from worker.pipeline import Pipeline, UpscaleRequest


def upscale(
    picture: str | os.PathLike[str] | bytes | Image.Image,
    scale: int = 4,
    model: str = AUTO,
    *,
    ensemble: bool = False,
) -> Image.Image:
    """The picture `scale` times as wide and high, upright, with its transparency and colour profile.

    `picture` is a path, a file's content, or a Pillow image; `scale` is 2, 3 or 4; `model` is a family
    (`espcn`, `bicubic`), a pinned version (`espcn@1`) or `auto`; `ensemble` takes the mean over eight flips and rotations. The samples are those that the service
    writes into a PNG. The result's mode is L, LA, RGB or RGBA.

    Loads the model each time; `enlarger image`, and `worker.pipeline.Pipeline` beneath it, keep it for many
    pictures. Raises ValueError for another scale, OSError if the file cannot be read and :class:`worker.errors.JobError` if the picture
    cannot be enlarged.
    """
    if scale not in (2, 3, 4):
        raise ValueError(f"scale must be 2, 3 or 4, not {scale!r}")
    request = UpscaleRequest(_content(picture), model, scale, PictureFormat.PNG, ensemble=ensemble)
    with Pipeline() as pipeline:
        upscaled = pipeline.submit(request).result()
    image = Image.open(io.BytesIO(upscaled.content))
    image.load()
    return image


def _content(picture: str | os.PathLike[str] | bytes | Image.Image) -> bytes:
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, Image.Image):
        return encode(picture_from_pillow(picture), PictureFormat.PNG, None)
    return Path(picture).read_bytes()
