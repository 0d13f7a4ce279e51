"""What goes over the wire, for the OpenAPI document too."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.config import JsonDict

from sr_models.manifest import AUTO
from worker.contract.finish import BACKGROUND_PATTERN, Metadata
from worker.contract.jobs import InputFormat, JobRecord, JobStatus, Note, PictureFormat, Priority
from worker.contract.reading import Colorspace, Frames

LARGEST_SIDE_PX = 1 << 20
"""A longer one is in no format's or no device's reach, and whoever asks for it has mistaken the unit."""

JOB_EXAMPLE: JsonDict = {
    "id": "0f6a1c9be0d34b5f8a7d2c3e4f5a6b7c",
    "status": "succeeded",
    "progress": 1.0,
    "model": "auto",
    "scale": 4,
    "format": "jpeg",
    "quality": None,
    "width": None,
    "height": None,
    "sharpen": 0.0,
    "metadata": "keep",
    "colorspace": "keep",
    "frames": "refuse",
    "background": "#ffffff",
    "progressive": False,
    "lossless": False,
    "ensemble": False,
    "priority": "interactive",
    "created_at": "2026-03-01T12:00:00Z",
    "started_at": "2026-03-01T12:00:00.120000Z",
    "ended_at": "2026-03-01T12:00:00.480000Z",
    "expires_at": "2026-03-02T12:00:00.480000Z",
    "input": {
        "format": "jpeg",
        "width": 640,
        "height": 480,
        "bytes": 81234,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "filename": "photo.jpg",
        "frames": 1,
    },
    "result": {
        "url": "/jobs/0f6a1c9be0d34b5f8a7d2c3e4f5a6b7c/result",
        "media_type": "image/jpeg",
        "width": 2560,
        "height": 1920,
        "bytes": 912345,
        "sha256": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
        "checkpoint": "espcn-x4@1",
        "checkpoint_sha256": "fd61a03af4f77d870fc21e05e7e80678095c92d808cfb3b5c279ee04c74aca13",
        "notes": [],
        "repeated": False,
    },
    "timings": {"queued_s": 0.12, "decode_s": 0.02, "upscale_s": 0.26, "encode_s": 0.05, "total_s": 0.48},
    "links": {
        "self": "/jobs/0f6a1c9be0d34b5f8a7d2c3e4f5a6b7c",
        "result": "/jobs/0f6a1c9be0d34b5f8a7d2c3e4f5a6b7c/result",
    },
}
# FastAPI leaves nulls out of the examples; the answer itself has every field.
QUEUED_JOB_EXAMPLE: JsonDict = {
    name: value
    for name, value in JOB_EXAMPLE.items()
    if name not in ("started_at", "ended_at", "expires_at", "result", "error")
} | {
    "status": "queued",
    "position": 3,
    "time_left_s": 7.0,
    "progress": 0.0,
    "timings": {},
    "links": {"self": "/jobs/0f6a1c9be0d34b5f8a7d2c3e4f5a6b7c"},
}


class WireModel(BaseModel):
    """The form of everything on the wire."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        validate_by_alias=True,
        validate_by_name=True,
    )


def _format_name(sent: object) -> object:
    """Formats by the names that people give them: `JPG` is `jpeg`."""
    return {"jpg": "jpeg", "tif": "tiff"}.get(sent.lower(), sent.lower()) if isinstance(sent, str) else sent


class UpscaleOptions(WireModel):
    """How a picture is to be enlarged. A number, `model` or `webhook_url` that a form leaves empty takes its default."""

    model: str = Field(AUTO, max_length=100)
    """A family (`espcn`), one version of it (`espcn@1`) or `auto`: the best at that scale. See GET /models."""
    scale: int | None = Field(None, ge=2, le=4)
    """How many times as wide and high the result is: 2, 3 or 4. Without it and without `width` and `height`: 4."""
    width: int | None = Field(None, ge=1, le=LARGEST_SIDE_PX)
    """Of the result, in pixels, instead of `scale`: the next scale up is reduced to it. With `height` too, the result fits within both."""
    height: int | None = Field(None, ge=1, le=LARGEST_SIDE_PX)
    """Of the result, in pixels, instead of `scale`. The proportions stay."""
    format: Annotated[
        Literal["auto", "png", "jpeg", "webp", "tiff", "avif"], BeforeValidator(_format_name)
    ] = "auto"
    """The result's format; `auto` is the upload's, and PNG for what is not written here (GIF, BMP, PPM, JPEG 2000), JPEG for HEIC."""
    quality: int | None = Field(None, ge=1, le=100)
    """Of a JPEG, WebP or AVIF result, 1 to 100; without it, the encoder's default here. PNG and TIFF lose nothing."""
    sharpen: float = Field(0.0, ge=0, le=1, allow_inf_nan=False)
    """How much of the result's fine detail is added once more, 0 to 1."""
    metadata: Metadata = Metadata.KEEP
    """`keep` keeps EXIF, XMP and IPTC; `strip` leaves them out, and with them the place, the time and the camera. The colour profile stays."""
    colorspace: Colorspace = Colorspace.KEEP
    """`keep` keeps the colours' numbers and their profile; `srgb` converts them by the profile. CMYK and Lab always become sRGB."""
    frames: Frames = Frames.REFUSE
    """Of an animation (GIF, PNG, WebP) or a TIFF with pages: `refuse` answers with an error, `first` takes the first, `all` takes all and keeps their times."""
    background: str = Field("#ffffff", pattern=BACKGROUND_PATTERN)
    """What a transparent picture is composed on where the result is a JPEG: `#` and red, green and blue in hex."""
    progressive: bool = False
    """Of a JPEG result: whether it shows coarse first. A few per cent smaller, and slower to write."""
    lossless: bool = False
    """Of a WebP result: whether every sample is kept."""
    ensemble: bool = False
    """Take the mean over the picture's eight flips and rotations: a little closer to the truth, for eight times the work."""
    priority: Priority = Priority.INTERACTIVE
    """`interactive` goes first; `bulk` is for many pictures that nobody waits for, and still gets its share."""
    webhook_url: str | None = Field(None, max_length=2048)
    """Where the job is to be sent when it has ended, signed by the Standard Webhooks specification. See docs/webhooks.md."""


class FieldError(WireModel):
    """What is wrong with one field."""

    field: str
    """The field's name; `body` for the whole."""
    message: str
    """For people."""

    @classmethod
    def all_of(cls, errors: Sequence[Any]) -> list[Self]:
        """From what pydantic reports."""
        return [
            cls(field=".".join(str(part) for part in error["loc"]) or "body", message=_message(error))
            for error in errors
        ]


def _message(error: Any) -> str:
    """Pydantic's words, or better ones where an option is meant."""
    if error["type"] == "extra_forbidden":
        return f"No such option; there are: {', '.join(UpscaleOptions.model_fields)}"
    if error["loc"] == ("scale",):
        return "Must be 2, 3 or 4"
    if error["type"] == "bool_parsing":
        return "Must be true or false"
    return str(error["msg"])


CheckName = Literal["queue", "storage", "workers", "models"]


class ReadinessCheck(WireModel):
    """One thing that the service needs."""

    name: CheckName
    """Redis, the blob store, at least one live worker, published checkpoints."""
    ok: bool
    """Whether it is there."""
    detail: str
    """What is wrong, or what was found."""


class Problem(BaseModel):
    """An error (RFC 9457). Programs go by `code`; docs/errors.md lists the codes."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    type: str
    """`urn:enlarger:error:` and the code."""
    title: str
    """The same for every occurrence."""
    status: int
    """The HTTP status."""
    detail: str
    """About this occurrence."""
    instance: str
    """The path that was asked for."""
    code: str
    """Stable."""
    errors: list[FieldError] | None = None
    """With `invalid_request`: the fields that are wrong."""
    checks: list[ReadinessCheck] | None = None
    """With `not_ready`: everything that was checked."""
    models: list[str] | None = None
    """With `unknown_model`: the models that are published."""
    scales: list[int] | None = None
    """With `scale_not_available`: the scales that the model is published at."""
    max_bytes: int | None = None
    """With `upload_too_large`."""
    max_pixels: int | None = None
    """With `too_many_pixels`."""
    retryable: bool | None = None
    """With the code of a failed job: whether the same request could succeed later."""


class JobInput(WireModel):
    """The upload, as its header describes it."""

    format: InputFormat
    """Found in the bytes, whatever the file name says."""
    width: int
    """In pixels as stored, before any EXIF orientation."""
    height: int
    """In pixels as stored, before any EXIF orientation."""
    bytes: int
    """Length of the file."""
    sha256: str
    """Of the file, in hex."""
    filename: str
    """The last part of the name that the client gave; may be empty."""
    frames: int
    """How many frames or pages of it are enlarged."""


class JobOutput(WireModel):
    """The enlarged picture."""

    url: str
    """Where it can be fetched."""
    media_type: str
    """Such as image/png."""
    width: int
    """In pixels."""
    height: int
    """In pixels."""
    bytes: int
    """Length of the file."""
    sha256: str
    """Of the file, in hex; also its ETag."""
    checkpoint: str
    """The version that made it."""
    checkpoint_sha256: str
    """Of the weights that made it, in hex."""
    notes: list[Note]
    """What of the picture could not be kept, or was changed; docs/fidelity.md lists them."""
    repeated: bool
    """Whether it is the copy of an earlier job's, for the same picture and options."""


class JobTimings(WireModel):
    """How long things took, in seconds; null where they have not happened."""

    queued_s: float | None = None
    """Waiting for a worker."""
    decode_s: float | None = None
    """Reading and decoding the upload."""
    upscale_s: float | None = None
    """Enlarging; other jobs share the device meanwhile."""
    encode_s: float | None = None
    """Encoding the result."""
    total_s: float | None = None
    """From the upload's acceptance to the job's end."""


class JobError(WireModel):
    """Why a job failed."""

    code: str
    """Stable; docs/errors.md lists the codes."""
    message: str
    """For people."""
    retryable: bool
    """Whether the same request could succeed later."""


class JobLinks(WireModel):
    """Where to go from here."""

    self_: str = Field(alias="self")
    """The job."""
    result: str | None = None
    """The enlarged picture, once the job has succeeded."""


class Job(WireModel):
    """One picture on its way."""

    model_config = ConfigDict(json_schema_extra={"examples": [JOB_EXAMPLE, QUEUED_JOB_EXAMPLE]})

    id: str
    """Unguessable: who knows it may read and delete the job."""
    status: JobStatus
    """The last three are final."""
    position: int | None = None
    """Where it stands in line, 1 for the next to be taken; null where it does not wait, in a list of jobs, and in the answer to an upload."""
    time_left_s: float | None = None
    """Roughly how many seconds until it is done, while it waits and the workers' speed is known; null in a list of jobs."""
    progress: float = Field(ge=0, le=1)
    """The share of the work that is done."""
    model: str
    """As it was asked for; `result.checkpoint` says what it came to."""
    scale: int
    """How many times the network enlarges it; the result is smaller where another `width` or `height` was asked for."""
    format: PictureFormat
    """Of the result."""
    quality: int | None = None
    """Of a JPEG, WebP or AVIF result; null for the encoder's default here."""
    width: int | None = None
    """What was asked for, in pixels; null where the scale or the height says it."""
    height: int | None = None
    """Likewise."""
    sharpen: float
    """How much of the result's fine detail is added once more."""
    metadata: Metadata
    """What becomes of EXIF, XMP and IPTC."""
    colorspace: Colorspace
    """In which numbers the result has its colours."""
    frames: Frames
    """What becomes of several frames or pages."""
    background: str
    """What a transparent picture is composed on where the result is a JPEG."""
    progressive: bool
    """Whether a JPEG result shows coarse first."""
    lossless: bool
    """Whether a WebP result keeps every sample."""
    ensemble: bool
    """Whether the result is the mean over eight flips and rotations."""
    priority: Priority
    """Who goes first."""
    created_at: datetime
    """When the upload was accepted (RFC 3339, UTC)."""
    started_at: datetime | None = None
    """When a worker took it."""
    ended_at: datetime | None = None
    """When it reached a final status."""
    expires_at: datetime | None = None
    """When its pictures will be erased; set when it has ended."""
    input: JobInput
    """The upload."""
    result: JobOutput | None = None
    """Set when succeeded."""
    timings: JobTimings
    """How long things took."""
    error: JobError | None = None
    """Set when failed."""
    links: JobLinks
    """Where to go from here."""

    @classmethod
    def from_record(cls, record: JobRecord, root_path: str) -> Self:
        """A record as clients see it; `root_path` is what a proxy in front puts before our paths."""
        job, made, failure = record.job, record.result, record.failure
        url = job_path(job.id, root_path)
        timings = JobTimings(
            queued_s=_since(job.created_at, record.started_at),
            total_s=_since(job.created_at, record.ended_at),
        )
        result = None
        if made is not None:
            timings = timings.model_copy(
                update={"decode_s": made.decode_s, "upscale_s": made.upscale_s, "encode_s": made.encode_s}
            )
            result = JobOutput(
                url=f"{url}/result",
                media_type=made.media_type,
                width=made.width_px,
                height=made.height_px,
                bytes=made.size_bytes,
                sha256=made.sha256,
                checkpoint=made.checkpoint,
                checkpoint_sha256=made.checkpoint_sha256,
                notes=list(made.notes),
                repeated=made.repeated,
            )
        return cls(
            id=job.id,
            status=record.status,
            progress=record.progress,
            model=job.model,
            scale=job.scale,
            format=job.output_format,
            quality=job.quality,
            width=job.finish.width_px,
            height=job.finish.height_px,
            sharpen=job.finish.sharpen,
            metadata=job.finish.metadata,
            colorspace=job.reading.colorspace,
            frames=job.reading.frames,
            background=job.finish.background,
            progressive=job.finish.progressive,
            lossless=job.finish.lossless,
            ensemble=job.ensemble,
            priority=job.priority,
            created_at=datetime.fromtimestamp(job.created_at, UTC),
            started_at=_utc(record.started_at),
            ended_at=_utc(record.ended_at),
            expires_at=_utc(record.expires_at),
            input=JobInput(
                format=job.input.format,
                width=job.input.width_px,
                height=job.input.height_px,
                bytes=job.input.size_bytes,
                sha256=job.input.sha256,
                filename=job.input.filename,
                frames=job.input.frames,
            ),
            result=result,
            timings=timings,
            error=JobError(**asdict(failure)) if failure else None,
            links=JobLinks(self=url, result=result.url if result else None),
        )


class JobList(WireModel):
    """A page of jobs."""

    jobs: list[Job]
    """The newest first."""
    next: str | None = None
    """Where the next page is; null on the last."""


def job_path(job_id: str, root_path: str) -> str:
    """Where a job lies."""
    return f"{root_path}/jobs/{job_id}"


def _utc(epoch_s: float | None) -> datetime | None:
    return None if epoch_s is None else datetime.fromtimestamp(epoch_s, UTC)


def _since(start_s: float, end_s: float | None) -> float | None:
    # Two machines' clocks may differ by more than a wait.
    return None if end_s is None else max(0.0, round(end_s - start_s, 6))
