"""Enlarging from Python, in this process."""

import io
import os
from pathlib import Path

from PIL import Image

from sr_models.manifest import AUTO
from worker.contract.finish import UNCHANGED, Finish
from worker.contract.jobs import PictureFormat
from worker.contract.reading import AS_IT_IS, Reading
from worker.pipeline import Pipeline, UpscaleRequest
from worker.reading import picture_from_pillow
from worker.writing import encode


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
    writes into a PNG. The result's mode is L, LA, RGB, RGBA or I;16: Pillow has no 16 bits for colours, :func:`upscale_file` has.

    Loads the model each time; `enlarger image`, and `worker.pipeline.Pipeline` beneath it, keep it for many
    pictures. Raises ValueError for another scale, OSError if the file cannot be read and :class:`worker.errors.JobError` if the picture
    cannot be enlarged.
    """
    content = upscale_file(
        _content(picture), scale, model, output_format=PictureFormat.PNG, ensemble=ensemble
    )
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def upscale_file(
    picture: str | os.PathLike[str] | bytes,
    scale: int = 4,
    model: str = AUTO,
    *,
    output_format: PictureFormat | None = None,
    quality: int | None = None,
    ensemble: bool = False,
    reading: Reading = AS_IT_IS,
    finish: Finish = UNCHANGED,
) -> bytes:
    """The very file that the service answers with: with all 16 bits, all frames, and what the picture's file says besides.

    `picture` is a path or a file's content; `output_format` is the input's, or what comes next to it, unless one is given; `quality` is
    1 to 100 for JPEG, WebP and AVIF. Raises as :func:`upscale` does.
    """
    if scale not in (2, 3, 4):
        raise ValueError(f"scale must be 2, 3 or 4, not {scale!r}")
    content = picture if isinstance(picture, bytes) else Path(picture).read_bytes()
    request = UpscaleRequest(
        content, model, scale, output_format, quality, ensemble, reading=reading, finish=finish
    )
    with Pipeline() as pipeline:
        return pipeline.submit(request).result().content


def _content(picture: str | os.PathLike[str] | bytes | Image.Image) -> str | os.PathLike[str] | bytes:
    if isinstance(picture, Image.Image):
        return encode(picture_from_pillow(picture), PictureFormat.PNG, None)
    return picture
