"""Enlarging from Python, in this process."""

import io
import os
from pathlib import Path

from PIL import Image
from pydantic import TypeAdapter

from sr_models.manifest import AUTO
from worker.contract.finish import UNCHANGED, Finish, Metadata
from worker.contract.jobs import PictureFormat
from worker.contract.reading import Colorspace, Frames, Reading
from worker.pipeline import Pipeline, UpscaleRequest
from worker.reading import picture_from_pillow
from worker.writing import encode

_FINISH = TypeAdapter(Finish)


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
    content = upscale_file(_content(picture), scale, model, format=PictureFormat.PNG, ensemble=ensemble)
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def upscale_file(
    picture: str | os.PathLike[str] | bytes,
    scale: int = 4,
    model: str = AUTO,
    *,
    format: str = AUTO,
    quality: int | None = None,
    ensemble: bool = False,
    sharpen: float = 0.0,
    metadata: str = Metadata.KEEP,
    colorspace: str = Colorspace.KEEP,
    frames: str = Frames.REFUSE,
    background: str = UNCHANGED.background,
    progressive: bool = False,
    lossless: bool = False,
) -> bytes:
    """The content of the very file that the service answers with: with all 16 bits, all frames, and what the picture's file says besides.

    `picture` is a path or a file's content. The options are those of `POST /upscale`, with the same words: `format` is `auto`, `png`, `jpeg`,
    `webp`, `tiff` or `avif`, `quality` 1 to 100, `sharpen` 0 to 1, `metadata` `keep` or `strip`, `colorspace` `keep` or `srgb`, `frames` `refuse`, `first`
    or `all`, `background` `#rrggbb`. Raises as :func:`upscale` does, ValueError for other words too.
    """
    if scale not in (2, 3, 4):
        raise ValueError(f"scale must be 2, 3 or 4, not {scale!r}")
    if quality is not None and not 1 <= quality <= 100:
        raise ValueError(f"quality must be 1 to 100, not {quality!r}")
    finish = _FINISH.validate_python(
        {
            "sharpen": sharpen,
            "metadata": metadata,
            "background": background,
            "progressive": progressive,
            "lossless": lossless,
        }
    )
    request = UpscaleRequest(
        content=picture if isinstance(picture, bytes) else Path(picture).read_bytes(),
        model=model,
        scale=scale,
        output_format=None if format == AUTO else PictureFormat(format),
        quality=quality,
        ensemble=ensemble,
        reading=Reading(Colorspace(colorspace), Frames(frames)),
        finish=finish,
    )
    with Pipeline() as pipeline:
        return pipeline.submit(request).result().content


def _content(picture: str | os.PathLike[str] | bytes | Image.Image) -> str | os.PathLike[str] | bytes:
    if isinstance(picture, Image.Image):
        return encode(picture_from_pillow(picture), PictureFormat.PNG, None)
    return picture
