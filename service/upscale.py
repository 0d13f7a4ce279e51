"""POST /upscale: from a request to a job in the queue."""

import logging
import os
import secrets
import time
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError

from service.auth import Caller, CallerOf
from service.errors import (
    EMPTY_IMAGE,
    IMAGE_DAMAGED,
    IMAGE_TRUNCATED,
    INVALID_REQUEST,
    MALFORMED_BODY,
    MODELS_UNAVAILABLE,
    PICTURE_ANIMATED,
    PIXEL_QUOTA_USED_UP,
    QUEUE_FULL,
    QUEUE_UNAVAILABLE,
    RESULT_TOO_LARGE,
    SCALE_NOT_AVAILABLE,
    STORAGE_UNAVAILABLE,
    TOO_MANY_OWN_JOBS,
    TOO_MANY_PIXELS,
    UNKNOWN_MODEL,
    UNSUPPORTED_IMAGE,
    UNSUPPORTED_MEDIA_TYPE,
    UPLOAD_TIMED_OUT,
    UPLOAD_TOO_LARGE,
    WEBHOOK_URL_REFUSED,
    WEBHOOKS_OFF,
    ProblemError,
)
from service.jobs import POLL_AFTER_S
from service.limits import Limits
from service.pictures import check_result_fits, inspect
from service.problems import invalid_request, problem_responses
from service.quotas import Quotas
from service.schemas import FieldError, Job, UpscaleOptions, job_path
from service.uploads import IMAGE_FIELD, Upload, received
from service.webhooks import Webhooks
from sr_models.manifest import AUTO, CheckpointFolder, ModelNotFoundError, ScaleNotFoundError
from worker.contract.blobs import BlobStore, BlobStoreError
from worker.contract.jobs import JobRecord, JobStatus, PictureFormat, UpscaleJob
from worker.contract.logs import job_in_log, note_job
from worker.contract.queue import JobQueue

logger = logging.getLogger(__name__)


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
    ) -> None:
        self._queue = queue
        self._blobs = blobs
        self._checkpoints = checkpoints
        self._limits = limits
        self._quotas = quotas
        self._webhooks = webhooks

    def admit(self, caller: Caller) -> None:
        """Raises ProblemError if too many jobs wait, the caller's or all. Asked before the upload is received."""
        self._quotas.check_room(caller)
        if self._queue.waiting() >= self._limits.max_queued_jobs:
            raise ProblemError(QUEUE_FULL)

    def accept(self, caller: Caller, upload: Upload, options: UpscaleOptions) -> UpscaleJob:
        """Check the picture, store it, and queue its job. Raises ProblemError, and whatever the ports raise."""
        picture = inspect(upload.file, upload.filename, self._limits.max_input_pixels)
        output_format = picture.format if options.format == AUTO else PictureFormat(options.format)
        self._check_model(options.model, options.scale)
        self._webhooks.check(options.webhook_url)
        check_result_fits(picture, options.scale, output_format, self._limits.max_output_pixels)
        job = UpscaleJob(
            id=secrets.token_hex(16),
            model=options.model,
            scale=options.scale,
            output_format=output_format,
            quality=options.quality,
            input=picture,
            created_at=time.time(),
            priority=options.priority,
            ensemble=options.ensemble,
            owner=caller.id,
            webhook_url=options.webhook_url,
        )
        with job_in_log(job.id), self._quotas.taken(caller, job.work_px):
            self._store_and_queue(job, upload)
        return job

    def _store_and_queue(self, job: UpscaleJob, upload: Upload) -> None:
        upload.file.seek(0, os.SEEK_SET)
        self._blobs.put(job.input_key, upload.file)
        try:
            self._queue.submit(job)
        except Exception:
            self._erase(job)
            raise

    def _check_model(self, model: str, scale: int) -> None:
        try:
            self._checkpoints.find(model, scale)
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


def upscale_router(intake: Intake, limits: Limits) -> APIRouter:
    """The route that accepts pictures."""
    router = APIRouter(tags=["jobs"])

    @router.post(
        "/upscale",
        operation_id="upscale",
        status_code=202,
        summary="Send a picture to be enlarged",
        response_description="Accepted: poll the job at `Location`.",
        responses={
            202: {
                "headers": {
                    "Location": {"description": "The job.", "schema": {"type": "string"}},
                    "Retry-After": {
                        "description": "Seconds until the first poll.",
                        "schema": {"type": "integer"},
                    },
                }
            },
            **problem_responses(
                INVALID_REQUEST,
                MALFORMED_BODY,
                UNSUPPORTED_MEDIA_TYPE,
                EMPTY_IMAGE,
                UNSUPPORTED_IMAGE,
                IMAGE_TRUNCATED,
                IMAGE_DAMAGED,
                PICTURE_ANIMATED,
                UPLOAD_TOO_LARGE,
                TOO_MANY_PIXELS,
                RESULT_TOO_LARGE,
                UPLOAD_TIMED_OUT,
                UNKNOWN_MODEL,
                SCALE_NOT_AVAILABLE,
                TOO_MANY_OWN_JOBS,
                PIXEL_QUOTA_USED_UP,
                WEBHOOKS_OFF,
                WEBHOOK_URL_REFUSED,
                QUEUE_FULL,
                QUEUE_UNAVAILABLE,
                STORAGE_UNAVAILABLE,
                MODELS_UNAVAILABLE,
            ),
        },
        openapi_extra=_request_documentation(),
    )
    async def upscale(caller: CallerOf, request: Request, response: Response) -> Job:
        """Send the picture as the field `image` of a form, or as the body itself with its `image/*` type.

        Options are fields of the form or parameters of the query. The result keeps transparency (in a JPEG it
        becomes white), colour profile and EXIF, turned upright; 16 bits a sample are reduced to 8.
        """
        await run_in_threadpool(intake.admit, caller)
        async with received(
            request, max_bytes=limits.max_upload_bytes, idle_timeout_s=limits.upload_idle_timeout_s
        ) as upload:
            job = await run_in_threadpool(intake.accept, caller, upload, _options(upload.options))
        note_job(job.id)
        root_path = request.scope.get("root_path", "")
        response.headers["Location"] = job_path(job.id, root_path)
        response.headers["Retry-After"] = str(POLL_AFTER_S)
        return Job.from_record(JobRecord(job, JobStatus.QUEUED, 0.0), root_path)

    return router


def _options(sent: dict[str, str]) -> UpscaleOptions:
    try:
        return UpscaleOptions.model_validate(sent)
    except ValidationError as error:
        raise invalid_request(FieldError.all_of(error.errors())) from error


def _request_documentation() -> dict[str, Any]:
    """The request in OpenAPI's words, which FastAPI cannot derive where it does not receive the body itself."""
    options = UpscaleOptions.model_json_schema(ref_template="#/components/schemas/{model}")["properties"]
    picture = {
        "type": "string",
        "contentMediaType": "application/octet-stream",
        "description": "The picture.",
    }
    form = {
        "type": "object",
        "required": [IMAGE_FIELD],
        "additionalProperties": False,
        "properties": {IMAGE_FIELD: picture, **options},
    }
    return {
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": False,
                "schema": schema,
                "description": schema["description"],
            }
            for name, schema in options.items()
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                **{f.media_type: {"schema": {"type": "string", "format": "binary"}} for f in PictureFormat},
            },
        },
    }
