"""What the gateway does with a picture once it is received: checks it, stores it, and queues its job."""

import logging
import os
import secrets
import time
from dataclasses import dataclass

from service.auth import Caller
from service.catalog import Catalog
from service.errors import SCALE_NOT_AVAILABLE, UNKNOWN_MODEL, ProblemError
from service.idempotency import IdempotencyKeys
from service.limits import Limits
from service.pictures import check_result_fits, inspect
from service.problems import invalid_request
from service.quotas import Quotas
from service.repeats import Repeats, repeats_name
from service.schemas import FieldError, UpscaleOptions
from service.uploads import Upload
from service.webhooks import Webhooks
from sr_models.manifest import AUTO, Checkpoint, CheckpointFolder, ModelNotFoundError, ScaleNotFoundError
from worker.contract.blobs import BlobStore, BlobStoreError
from worker.contract.finish import Finish
from worker.contract.jobs import InputFormat, JobRecord, JobStatus, PictureFormat, UpscaleJob
from worker.contract.logs import job_in_log
from worker.contract.queue import JobQueue
from worker.contract.reading import Reading

logger = logging.getLogger(__name__)


DEFAULT_SCALE = 4


@dataclass(frozen=True)
class Accepted:
    """The job that answers a request."""

    record: JobRecord
    """As it stands."""
    replayed: bool
    """Whether an earlier request with the same `Idempotency-Key` made it."""


class Intake:
    """Makes jobs of uploads. Blocks: call it in a thread."""

    def __init__(
        self,
        queue: JobQueue,
        blobs: BlobStore,
        checkpoints: CheckpointFolder,
        limits: Limits,
        quotas: Quotas,
        webhooks: Webhooks,
        idempotency: IdempotencyKeys,
        repeats: Repeats,
    ) -> None:
        self._queue = queue
        self._blobs = blobs
        self._checkpoints = checkpoints
        self._catalog = Catalog(checkpoints)
        self._limits = limits
        self._quotas = quotas
        self._webhooks = webhooks
        self._idempotency = idempotency
        self._repeats = repeats

    def accept(
        self,
        caller: Caller,
        upload: Upload,
        options: UpscaleOptions,
        idempotency_key: str | None = None,
        *,
        anew: bool = False,
    ) -> Accepted:
        """Check the picture, store it, and queue its job; or answer with what was made of it before, unless it is to be made anew.

        Raises ProblemError, and whatever the ports raise.
        """
        picture = inspect(upload.file, upload.filename, self._limits.max_input_pixels, options.frames)
        output_format = picture.format.kept_as if options.format == AUTO else PictureFormat(options.format)
        if picture.frames > 1 and output_format is PictureFormat.JPEG:
            reason = "A JPEG holds one picture: choose png, webp, tiff or avif for all frames"
            raise invalid_request([FieldError(field="format", message=reason)])
        pages = picture.frames > 1 and picture.format is InputFormat.TIFF
        if pages and output_format is not PictureFormat.TIFF:
            reason = "Only a TIFF holds pages: choose tiff, or frames=first"
            raise invalid_request([FieldError(field="format", message=reason)])
        finish = Finish(
            options.width,
            options.height,
            options.sharpen,
            options.metadata,
            options.background,
            options.progressive,
            options.lossless,
        )
        size_px = picture.upright_px
        scale = options.scale or self._scale_for(options.model, finish, size_px)
        manifest = self._checkpoint(options.model, scale).manifest
        weights_sha256 = manifest.weights_sha256
        self._webhooks.check(options.webhook_url)
        most_px = self._limits.max_output_pixels
        check_result_fits(size_px, scale, output_format, most_px, finish, picture.frames)
        job = UpscaleJob(
            id=secrets.token_hex(16),
            model=options.model,
            scale=scale,
            output_format=output_format,
            quality=options.quality,
            input=picture,
            created_at=time.time(),
            priority=options.priority,
            ensemble=options.ensemble,
            owner=caller.id,
            webhook_url=options.webhook_url,
            reading=Reading(options.colorspace, options.frames),
            finish=finish,
            parameters=manifest.parameters,
        )
        with job_in_log(job.id), self._idempotency.claimed(idempotency_key, job) as earlier:
            if earlier is not None:
                return Accepted(earlier, replayed=True)
            repeated = None if anew else self._repeated(job, weights_sha256)
            if repeated is not None:
                return Accepted(repeated, replayed=False)
            with self._quotas.taken(caller, job.work_px):
                self._store_and_queue(job, upload, repeats_name(job, weights_sha256))
        return Accepted(JobRecord(job, JobStatus.QUEUED, 0.0), replayed=False)

    def _repeated(self, job: UpscaleJob, weights_sha256: str) -> JobRecord | None:
        try:
            return self._repeats.answer(job, weights_sha256)
        except Exception:
            self._erase(job)
            raise

    def _store_and_queue(self, job: UpscaleJob, upload: Upload, name: str) -> None:
        upload.file.seek(0, os.SEEK_SET)
        self._blobs.put(job.input_key, upload.file)
        try:
            self._queue.submit(job, name)
        except Exception:
            self._erase(job)
            raise

    def _scale_for(self, model: str, finish: Finish, size_px: tuple[int, int]) -> int:
        """The scale at which the result can have the size that is asked for."""
        scales = self._scales_of(model) if finish.resizes else []
        if not scales:  # where there is no such model, the next step says so
            return DEFAULT_SCALE
        name = "width" if finish.width_px else "height"
        width_px, height_px = size_px
        if finish.scale_for(width_px, height_px, (1,)):
            reason = f"The picture has {width_px} x {height_px} pixels already: ask for more"
            raise invalid_request([FieldError(field=name, message=reason)])
        scale = finish.scale_for(width_px, height_px, scales)
        if scale is None:
            most = f"{width_px * max(scales)} x {height_px * max(scales)}"
            reason = f"Of {width_px} x {height_px} pixels, {model!r} makes at most {most}"
            raise invalid_request([FieldError(field=name, message=reason)])
        return scale

    def _checkpoint(self, model: str, scale: int) -> Checkpoint:
        try:
            return self._catalog.find(model, scale)
        except ScaleNotFoundError as error:
            scales = self._scales_of(model)
            offered = ", ".join(map(str, scales))
            raise ProblemError(
                SCALE_NOT_AVAILABLE,
                f"Model {model!r} offers scale {offered}; {scale} was asked.",
                scales=scales,
            ) from error
        except ModelNotFoundError as error:
            published = self._checkpoints.checkpoints()
            models = [AUTO, *sorted({c.manifest.family for c in published})]
            family = model.partition("@")[0]
            models += sorted(
                {f"{family}@{c.manifest.version}" for c in published if c.manifest.family == family}
            )
            raise ProblemError(
                UNKNOWN_MODEL,
                f"No model {model!r} is published. There are: {', '.join(models)}.",
                models=models,
            ) from error

    def _scales_of(self, model: str) -> list[int]:
        family, _, version = model.partition("@")
        return sorted(
            {
                c.manifest.scale
                for c in self._checkpoints.checkpoints()
                if family in (AUTO, c.manifest.family) and version in ("", str(c.manifest.version))
            }
        )

    def _erase(self, job: UpscaleJob) -> None:
        try:
            self._blobs.erase(job.prefix)
        except BlobStoreError:
            logger.exception("the upload of the refused job stays in the blob store")
