"""A picture's way through a worker: decode, enlarge, encode.

The stages of different pictures overlap: each picture goes its way on a thread of its own, and
Pillow and torch release the GIL. The queue's worker, the command line and `enlarger.upscale`
all go this way, so that they give the same bytes.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch

from sr_models.manifest import AUTO, Manifest, default_checkpoint_folder
from sr_models.samples import StoredSamples
from sr_models.upscaler import DEFAULT_TILE_PX, Upscaler
from worker.contract.finish import UNCHANGED, Finish
from worker.contract.jobs import Note, PictureFormat
from worker.contract.reading import AS_IT_IS, Reading
from worker.device import Precision, choose_device, choose_dtype
from worker.engine import Engine, never_canceled, no_progress
from worker.errors import PictureDamagedError
from worker.finishing import finish
from worker.metrics import WorkerMetrics
from worker.model_cache import ModelCache
from worker.picture import Picture
from worker.reading import decode
from worker.transparency import limit_to_neighbours
from worker.writing import encode, fitted


@dataclass(frozen=True)
class UpscaleRequest:
    """What is to be made of a picture."""

    content: bytes
    """The picture's file."""
    model: str = AUTO
    """A family (`espcn`), a pinned version (`espcn@1`) or `auto`."""
    scale: int = 4
    """2, 3 or 4."""
    output_format: PictureFormat | None = None
    """The result's format; None keeps the input's, or what comes next to it."""
    quality: int | None = None
    """1 to 100 for JPEG, WebP and AVIF; None for the default."""
    ensemble: bool = False
    """Whether to take the mean over eight flips and rotations, at eight times the work."""
    background: bool = False
    """Whether nobody waits for it, so that others go first."""
    reading: Reading = AS_IT_IS
    """How the file is read."""
    finish: Finish = UNCHANGED
    """What is done to the result after the network."""
    input_px: int | None = None
    """How many pixels the picture was accepted with, all frames together, where somebody made room by that."""


@dataclass(frozen=True)
class Upscaled:
    """The result, and what it took."""

    content: bytes
    """The result's file."""
    output_format: PictureFormat
    """What it was written as."""
    width_px: int
    """Of the result."""
    height_px: int
    """Of the result."""
    manifest: Manifest
    """The version that made it."""
    decode_s: float
    """Decoding, in seconds."""
    upscale_s: float
    """From the first tile's submission to the last one's end, in seconds; others share the device meanwhile."""
    encode_s: float
    """Encoding, in seconds."""
    notes: tuple[Note, ...] = ()
    """What could not be kept."""

    @property
    def checkpoint(self) -> str:
        """The version that made it: `<family>-x<scale>@<version>`."""
        return self.manifest.label

    @property
    def checkpoint_sha256(self) -> str:
        """Of the weights that made it, in hex."""
        return self.manifest.weights_sha256


class Pipeline:
    """Decode, enlarge, encode: many pictures at once on one device. Thread-safe.

    A context manager; leaving it finishes what was submitted.
    """

    def __init__(
        self,
        checkpoints: Path | None = None,
        device: str = "auto",
        *,
        precision: Precision = Precision.AUTO,
        capacity: int = 8,
        tile_px: int = DEFAULT_TILE_PX,
        batch_px: int = 0,
        metrics: WorkerMetrics | None = None,
        decode: Callable[[bytes, Reading], Picture] = decode,
    ) -> None:
        """`capacity` is how many pictures may be on their way at once: each holds its result's canvas.

        `tile_px` and `batch_px` are as in `worker.engine.Engine`. `decode` is `worker.decoder.DecoderPool`'s for strangers' pictures; by
        default it happens here.
        """
        self.device = choose_device(device)
        dtype = choose_dtype(precision, self.device)
        self._decode = decode
        self._metrics = metrics or WorkerMetrics()
        self._models = ModelCache(
            checkpoints or default_checkpoint_folder(), self.device, dtype, metrics=self._metrics
        )
        threads = torch.get_num_threads() if self.device == "cpu" else 0
        self._engine = Engine(tile_px=tile_px, batch_px=batch_px, threads=threads, metrics=self._metrics)
        self._codecs = threading.BoundedSemaphore(os.cpu_count() or 1)
        self._threads = ThreadPoolExecutor(capacity, thread_name_prefix="picture")

    def faults(self) -> list[str]:
        """See :meth:`worker.model_cache.ModelCache.faults`."""
        return self._models.faults()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Finish what was submitted, then release the threads."""
        self._threads.shutdown()
        self._engine.close()

    def submit(
        self,
        request: UpscaleRequest,
        on_progress: Callable[[float], None] | None = None,
        canceled: Callable[[], bool] | None = None,
    ) -> "Future[Upscaled]":
        """:meth:`upscale` on a thread of the pipeline's; waits its turn where `capacity` are on their way."""
        return self._threads.submit(
            self.upscale, request, on_progress or no_progress, canceled or never_canceled
        )

    def upscale(
        self,
        request: UpscaleRequest,
        on_progress: Callable[[float], None] = no_progress,
        canceled: Callable[[], bool] = never_canceled,
    ) -> Upscaled:
        """Take one picture all the way. Raises a :class:`worker.errors.JobError`.

        `on_progress` gets the share of tiles done, from another thread, and must be quick; `canceled` is
        asked between tiles.
        """
        upscaler = self._models.get(request.model, request.scale)
        with self._codecs:
            started_at_s = time.perf_counter()
            picture = self._decode(request.content, request.reading)
            decoded_at_s = time.perf_counter()
        width, height = picture.size_px
        if request.input_px not in (None, height * width * len(picture.frames)):
            # A decoder that a picture has taken over could claim to have found one that fills the memory.
            raise PictureDamagedError("The picture has another size than its header says.")
        planes = self._enlarged(upscaler, picture.planes, request, on_progress, canceled)
        if picture.alpha is not None and upscaler.manifest.parameters:
            for opacity, before in zip(planes[1::2], picture.planes[1::2], strict=True):
                if opacity.flags.writeable:  # what is flat is one sample, seen everywhere
                    limit_to_neighbours(opacity, before)
        enlarged_at_s = time.perf_counter()
        output_format = request.output_format or picture.format.kept_as
        with self._codecs:
            encoding_at_s = time.perf_counter()
            larger = finish(picture, planes, request.finish)
            larger = fitted(larger, output_format, request.finish)
            content = encode(larger, output_format, request.quality, request.finish)
            encoded_at_s = time.perf_counter()
        # Without the wait for a core: that says how busy the machine is, not what a codec costs.
        self._metrics.decoded(picture.format, decoded_at_s - started_at_s)
        self._metrics.encoded(output_format, encoded_at_s - encoding_at_s)
        width, height = larger.size_px
        return Upscaled(
            content=content,
            output_format=output_format,
            width_px=width,
            height_px=height,
            manifest=upscaler.manifest,
            decode_s=decoded_at_s - started_at_s,
            upscale_s=enlarged_at_s - decoded_at_s,
            encode_s=encoded_at_s - encoding_at_s,
            notes=larger.notes,
        )

    def _enlarged(
        self,
        upscaler: Upscaler,
        planes: Sequence[StoredSamples],
        request: UpscaleRequest,
        on_progress: Callable[[float], None],
        canceled: Callable[[], bool],
    ) -> list[StoredSamples]:
        """The planes through the network; one that is the same everywhere stays so without."""
        flat = [_is_flat(plane) for plane in planes[1:]]
        flat = [False, *flat]  # progress goes by tiles, of which there has to be one
        work = [plane for plane, is_flat in zip(planes, flat, strict=True) if not is_flat]
        made = self._engine.submit(
            upscaler,
            work,
            on_progress,
            canceled,
            ensemble=request.ensemble,
            background=request.background,
        ).result()
        enlarged = iter(made)
        shape = made[0].shape
        return [
            np.broadcast_to(plane[0, 0], shape) if is_flat else next(enlarged)
            for plane, is_flat in zip(planes, flat, strict=True)
        ]


def _is_flat(plane: StoredSamples) -> bool:
    return bool((plane == plane[0, 0]).all())
