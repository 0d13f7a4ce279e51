"""POST /upscale: from a request to its answer."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import ValidationError

from service.admission import Admission
from service.auth import CallerOf
from service.errors import (
    EMPTY_IMAGE,
    IDEMPOTENCY_KEY_REUSED,
    IMAGE_DAMAGED,
    IMAGE_TRUNCATED,
    IMAGE_URL_FAILED,
    IMAGE_URL_REFUSED,
    IMAGE_URLS_OFF,
    INVALID_REQUEST,
    MALFORMED_BODY,
    MODELS_UNAVAILABLE,
    PICTURE_ANIMATED,
    PIXEL_QUOTA_USED_UP,
    QUEUE_FULL,
    QUEUE_UNAVAILABLE,
    REQUEST_IN_PROGRESS,
    RESULT_TOO_LARGE,
    SCALE_NOT_AVAILABLE,
    STORAGE_UNAVAILABLE,
    TOO_MANY_OWN_JOBS,
    TOO_MANY_PIXELS,
    TOO_MANY_UPLOADS,
    UNKNOWN_MODEL,
    UNSUPPORTED_IMAGE,
    UNSUPPORTED_MEDIA_TYPE,
    UPLOAD_TIMED_OUT,
    UPLOAD_TOO_LARGE,
    UPLOAD_TOO_SLOW,
    WEBHOOK_URL_REFUSED,
    WEBHOOKS_OFF,
)
from service.estimates import Estimates
from service.image_urls import IMAGE_URL_FIELD, MAX_URL_CHARACTERS, ImageUrls
from service.intake import Accepted, Intake
from service.limits import Limits
from service.prefer import MAX_WAIT_S, WaitingRoom, wait_s
from service.problems import invalid_request, problem_responses
from service.schemas import FieldError, Job, UpscaleOptions, job_path
from service.uploads import IMAGE_FIELD, received
from worker.contract.jobs import InputFormat, JobRecord, JobStatus
from worker.contract.logs import note_job
from worker.contract.queue import QueueUnavailableError

IDEMPOTENCY_KEY = Header(
    min_length=1,
    max_length=255,
    pattern=r"^[\x20-\x7e]+$",
    description="Any text of your own, new for each job: the same request with the same key makes no second job for a day.",
    examples=["8e03978e-40d5-43dd-bc93-6894a57f9324"],
)
PREFER = Header(
    description=f"`wait=N`: answer when the job has ended, or after N seconds (at most {MAX_WAIT_S}). RFC 7240.",
    examples=["wait=30"],
)
CACHE_CONTROL = Header(
    description="`no-cache`: make the result anew, where the same picture was enlarged with the same options before.",
    examples=["no-cache"],
)
NO_CACHE = re.compile(r"\bno-(cache|store)\b", re.IGNORECASE)
LOCATION = {"description": "The job.", "schema": {"type": "string"}}
PREFERENCE_APPLIED = {
    "description": "How long it was waited at most, where it was asked for.",
    "schema": {"type": "string"},
}
REPLAYED = {
    "description": "`true` where an earlier request with the same `Idempotency-Key` made the job.",
    "schema": {"type": "string"},
}


def upscale_router(
    admission: Admission,
    intake: Intake,
    waiting_room: WaitingRoom,
    estimates: Estimates,
    image_urls: ImageUrls,
    limits: Limits,
) -> APIRouter:
    """The route that accepts pictures."""
    router = APIRouter(tags=["jobs"])

    @router.post(
        "/upscale",
        operation_id="upscale",
        status_code=202,
        response_model=Job,
        summary="Send a picture to be enlarged",
        response_description="Accepted: poll the job at `Location`.",
        responses={
            200: {
                "model": Job,
                "description": "It was waited for, and the job has ended, well or not: `status` says it.",
                "headers": {
                    "Location": LOCATION,
                    "Preference-Applied": PREFERENCE_APPLIED,
                    "Idempotency-Replayed": REPLAYED,
                },
            },
            202: {
                "headers": {
                    "Location": LOCATION,
                    "Preference-Applied": PREFERENCE_APPLIED,
                    "Idempotency-Replayed": REPLAYED,
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
                UPLOAD_TOO_SLOW,
                UNKNOWN_MODEL,
                SCALE_NOT_AVAILABLE,
                IDEMPOTENCY_KEY_REUSED,
                REQUEST_IN_PROGRESS,
                TOO_MANY_OWN_JOBS,
                PIXEL_QUOTA_USED_UP,
                WEBHOOKS_OFF,
                WEBHOOK_URL_REFUSED,
                IMAGE_URLS_OFF,
                IMAGE_URL_REFUSED,
                IMAGE_URL_FAILED,
                QUEUE_FULL,
                TOO_MANY_UPLOADS,
                QUEUE_UNAVAILABLE,
                STORAGE_UNAVAILABLE,
                MODELS_UNAVAILABLE,
            ),
        },
        openapi_extra=_request_documentation(),
    )
    async def upscale(
        caller: CallerOf,
        request: Request,
        idempotency_key: Annotated[str | None, IDEMPOTENCY_KEY] = None,
        prefer: Annotated[str | None, PREFER] = None,
        cache_control: Annotated[str | None, CACHE_CONTROL] = None,
    ) -> Response:
        """Send the picture as the field `image` of a form, or as the body itself with its `image/*` type.

        Or, where the service allows it, send JSON with the picture's URL as `image_url`. Options are fields of the form, parameters of
        the query, or members of the JSON. The result keeps transparency (in a JPEG it
        becomes the `background`), 16 bits a sample, colour profile, EXIF, XMP and IPTC (but for `metadata=strip`), turned upright; what its
        format cannot hold is named in the result's `notes`.
        """
        async with (
            admission.admitted(caller, idempotency_key),
            received(request, limits, image_urls) as upload,
        ):
            options = checked_options(upload.options)
            anew = cache_control is not None and NO_CACHE.search(cache_control) is not None

            def accept() -> tuple[Accepted, float | None]:
                accepted = intake.accept(caller, upload, options, idempotency_key, anew=anew)
                return accepted, _time_left_s(estimates, admission, accepted.record)

            accepted, time_left_s = await run_in_threadpool(accept)
        record = accepted.record
        note_job(record.job.id)
        headers = {"Idempotency-Replayed": "true"} if accepted.replayed else {}
        # Documented as one text, since generators of clients refuse headers that are lists.
        seconds = wait_s(request.headers.getlist("prefer")) if prefer else None
        waited = seconds is not None and await waiting_room.until_ended(request, record.job.id, seconds)
        if waited:
            record = waited
            headers["Preference-Applied"] = f"wait={seconds}"
        root_path = request.scope.get("root_path", "")
        headers["Location"] = job_path(record.job.id, root_path)
        job = Job.from_record(record, root_path)
        if record.status is JobStatus.QUEUED:
            job = job.model_copy(update={"time_left_s": time_left_s})
        ended = waited and record.status.final
        if not ended:
            headers["Retry-After"] = str(estimates.poll_after_s(job))
        # Written here: FastAPI would validate what is valid already, which costs as much as the rest of its work.
        body = job.model_dump_json(by_alias=True)
        return Response(body, 200 if ended else 202, headers, "application/json")

    return router


def _time_left_s(estimates: Estimates, admission: Admission, record: JobRecord) -> float | None:
    """Of a job that was just queued, by how the queue stood less than a second ago: to walk through it costs too much here."""
    try:
        return estimates.time_left_s(admission.standing().backlog + record.job)
    except QueueUnavailableError:  # the job is accepted all the same
        return None


def checked_options(sent: Mapping[str, object]) -> UpscaleOptions:
    """The options as they were sent. Raises ProblemError."""
    try:
        options = UpscaleOptions.model_validate(sent)
    except ValidationError as error:
        raise invalid_request(FieldError.all_of(error.errors())) from error
    if options.scale and (options.width or options.height):
        reason = "Give either `scale`, or `width` and `height`"
        raise invalid_request([FieldError(field="scale", message=reason)])
    return options


def _request_documentation() -> dict[str, Any]:
    picture = {
        "type": "string",
        "contentMediaType": "application/octet-stream",
        "format": "binary",  # OpenAPI 3.0's word, by which generators of clients go
        "description": "The picture.",
    }
    return options_documentation(picture)


def options_documentation(image: dict[str, Any], *, only_form: bool = False) -> dict[str, Any]:
    """The request in OpenAPI's words, which FastAPI cannot derive where it does not receive the body itself.

    `image` is the schema of that field; `only_form`: a picture cannot be the body itself.
    """
    options = UpscaleOptions.model_json_schema(ref_template="#/components/schemas/{model}")["properties"]
    form = {
        "type": "object",
        "required": [IMAGE_FIELD],
        "additionalProperties": False,
        "properties": {IMAGE_FIELD: image, **options},
    }
    return {
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": False,
                # A client that sends each default would send those of the form a second time.
                "schema": {name: value for name, value in schema.items() if name != "default"},
                "description": schema["description"],
            }
            for name, schema in options.items()
        ],
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                **({} if only_form else {"application/json": {"schema": _json_documentation(options)}}),
                **{
                    f.media_type: {"schema": {"type": "string", "format": "binary"}}
                    for f in InputFormat
                    if not only_form
                },
            },
        },
    }


def _json_documentation(options: dict[str, Any]) -> dict[str, Any]:
    url = {
        "type": "string",
        "maxLength": MAX_URL_CHARACTERS,
        "description": "Where the picture is, on the public internet. Off unless the service is configured to fetch.",
    }
    return {
        "type": "object",
        "required": [IMAGE_URL_FIELD],
        "additionalProperties": False,
        "properties": {IMAGE_URL_FIELD: url, **options},
        "examples": [{IMAGE_URL_FIELD: "https://example.org/photo.jpg", "scale": 4}],
    }
