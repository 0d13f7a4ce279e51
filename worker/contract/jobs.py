"""What a job is, in JSON types: the words that the gateway and the workers share.

Ids and blob keys cross the queue, never bytes or objects; errors cross it as data.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from annotated_types import Interval
from pydantic import TypeAdapter, ValidationError

from worker.contract.finish import UNCHANGED, Finish
from worker.contract.reading import AS_IT_IS, Reading

SCHEMA_VERSION = 1

ENSEMBLE_WORK = 8
"""The mean over eight flips and rotations is eight times the work."""

OVERHEAD_PARAMETERS = 50_000
"""What reading, writing and moving a pixel costs beside the network, counted as if it had so many more parameters: on two cores ESPCN x4
with its 24,752 then does about as much a second as EDSR-baseline with 1.5 million."""


class JobSchemaError(ValueError):
    """The queue holds a job of another schema version: upgrade gateway and workers together."""


class JobStatus(StrEnum):
    """Where a job stands. The last three are final."""

    QUEUED = "queued"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def final(self) -> bool:
        """Whether the job will never change again."""
        return self in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED)


class PictureFormat(StrEnum):
    """The formats that are written."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"
    TIFF = "tiff"
    AVIF = "avif"

    @property
    def media_type(self) -> str:
        """The IANA media type, such as image/png."""
        return f"image/{self.value}"

    @property
    def suffix(self) -> str:
        """The usual file name suffix, with its dot."""
        return ".jpg" if self is PictureFormat.JPEG else f".{self.value}"


class InputFormat(StrEnum):
    """The formats that are read."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"
    TIFF = "tiff"
    AVIF = "avif"
    BMP = "bmp"
    GIF = "gif"
    PPM = "ppm"
    """All of Netpbm's: PBM, PGM, PPM."""
    JP2 = "jp2"
    """JPEG 2000."""
    HEIC = "heic"
    """Where the workers have the package `pillow-heif`."""

    @property
    def media_type(self) -> str:
        """The IANA media type, such as image/png."""
        return "image/x-portable-anymap" if self is InputFormat.PPM else f"image/{self.value}"

    @property
    def kept_as(self) -> PictureFormat:
        """What a result is written as where no format is asked for: the same, or where that is not written, one that is of its kind."""
        if self is InputFormat.HEIC:
            return PictureFormat.JPEG
        written: dict[str, PictureFormat] = {each.value: each for each in PictureFormat}
        return written.get(self.value, PictureFormat.PNG)


class Note(StrEnum):
    """What of a picture could not be kept, or was changed."""

    TRANSPARENCY_FLATTENED = "transparency_flattened"
    """Composed on the background: the result's format has no transparency."""
    REDUCED_TO_8_BITS = "reduced_to_8_bits"
    """The result's format, an animation, or what reads the picture's (AVIF, HEIC) has 8 bits a sample."""
    CONVERTED_TO_SRGB = "converted_to_srgb"
    """Its colours were in other numbers (CMYK, Lab, or a profile's where sRGB was asked for)."""
    GAIN_MAP_DROPPED = "gain_map_dropped"
    """The file holds further pictures, such as a gain map for HDR screens or a preview."""
    FIRST_FRAME_ONLY = "first_frame_only"
    """Of several frames or pages."""
    TIMING_DROPPED = "timing_dropped"
    """The result's format has no place for an animation's times (TIFF), or for how often it is shown (AVIF)."""
    METADATA_DROPPED = "metadata_dropped"
    """The result's format has no place for some of it, or it was too long or damaged."""


class Priority(StrEnum):
    """Who goes first. Neither waits for ever: a share of every device is the other's."""

    INTERACTIVE = "interactive"
    """Somebody waits for the result."""
    BULK = "bulk"
    """One of many, for whenever there is room."""


@dataclass(frozen=True)
class InputPicture:
    """What the gateway learned of the upload from its header."""

    format: InputFormat
    """The format found in the bytes, whatever the file name said."""
    width_px: Annotated[int, Interval(ge=1, le=1 << 31)]
    """As stored, before any EXIF orientation."""
    height_px: Annotated[int, Interval(ge=1, le=1 << 31)]
    """As stored, before any EXIF orientation."""
    size_bytes: int
    """Length of the upload."""
    sha256: str
    """Of the upload, in hex."""
    filename: str
    """The name that the client gave, reduced to its last part; may be empty."""
    frames: Annotated[int, Interval(ge=1, le=1 << 31)] = 1
    """How many of them are to be enlarged."""
    on_its_side: bool = False
    """Whether it is to be turned by a quarter, as EXIF says."""

    @property
    def upright_px(self) -> tuple[int, int]:
        """Width and height as people see it."""
        return (self.height_px, self.width_px) if self.on_its_side else (self.width_px, self.height_px)

    @property
    def pixels(self) -> int:
        """Of all frames that are to be enlarged."""
        return self.width_px * self.height_px * self.frames


@dataclass(frozen=True)
class UpscaleJob:
    """One picture to enlarge."""

    id: str
    """Unguessable; also the RQ job's id."""
    model: str
    """A family (`espcn`), a pinned version (`espcn@1`) or `auto`."""
    scale: Annotated[int, Interval(ge=2, le=4)]
    """How many times larger the result is to be: 2, 3 or 4."""
    output_format: PictureFormat
    """The result's format."""
    quality: int | None
    """1 to 100 for JPEG, WebP and AVIF; None takes the encoder's default here."""
    input: InputPicture
    """The upload."""
    created_at: float
    """When the gateway accepted the job, in seconds since the epoch."""
    priority: Priority = Priority.INTERACTIVE
    """Who goes first."""
    ensemble: bool = False
    """Whether the result is the mean over the picture's eight flips and rotations, at eight times the work."""
    owner: str = ""
    """The id of the API key that it was sent with; empty where the service asks for none."""
    webhook_url: str | None = None
    """Who is told when it has ended."""
    reading: Reading = AS_IT_IS
    """How the upload is read."""
    finish: Finish = UNCHANGED
    """What is done to the result after the network."""
    parameters: Annotated[int, Interval(ge=0, le=1 << 53)] = 0
    """Of the network that was to make it when it was accepted: about as many multiply-adds for each input pixel."""
    schema_version: int = SCHEMA_VERSION
    """The form of this record."""

    @property
    def work_px(self) -> int:
        """What it asks of a device, in input pixels through the network."""
        return self.input.pixels * (ENSEMBLE_WORK if self.ensemble else 1)

    @property
    def work_mmac(self) -> float:
        """About what it asks of a device, in millions of multiply-adds: what estimates of the time left go by."""
        return self.work_px * (self.parameters + OVERHEAD_PARAMETERS) / 1e6

    @property
    def prefix(self) -> str:
        """Every blob of the job lies under this key."""
        return f"jobs/{self.id}/"

    @property
    def input_key(self) -> str:
        """Where the upload lies in the blob store."""
        return f"{self.prefix}input"

    @property
    def result_key(self) -> str:
        """Where the result will lie in the blob store."""
        return f"{self.prefix}result"

    def to_json(self) -> dict[str, Any]:
        """The job as JSON types. By pydantic: `asdict` copies every value, which takes forty times as long."""
        fields: dict[str, Any] = _JOB.dump_python(self, mode="json")
        return fields

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "UpscaleJob":
        """Read what :meth:`to_json` made. Raises JobSchemaError on anything else."""
        if fields.get("schema_version") != SCHEMA_VERSION:
            raise JobSchemaError(
                f"schema version {fields.get('schema_version')!r}, expected {SCHEMA_VERSION}"
            )
        try:
            return _JOB.validate_python(fields)
        except ValidationError as error:
            raise JobSchemaError(f"not a job: {error}") from error


@dataclass(frozen=True)
class JobResult:
    """What a worker made of a job."""

    media_type: str
    """Of the result, such as image/png."""
    width_px: int
    """Exactly scale times the upright input's, or as it was asked for."""
    height_px: int
    """Exactly scale times the upright input's, or as it was asked for."""
    size_bytes: int
    """Length of the result."""
    sha256: str
    """Of the result, in hex."""
    checkpoint: str
    """The version that made it: `<family>-x<scale>@<version>`."""
    checkpoint_sha256: str
    """Of the weights that made it, in hex."""
    decode_s: float
    """Reading and decoding the input, in seconds."""
    upscale_s: float
    """From the first tile's admission to the last tile's end, in seconds; other jobs share the device meanwhile."""
    encode_s: float
    """Encoding the result, in seconds."""
    notes: tuple[Note, ...] = ()
    """What could not be kept."""
    repeated: bool = False
    """Whether it is the copy of an earlier job's, for the same picture and options."""

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "JobResult":
        """Read what `dataclasses.asdict` made. Raises JobSchemaError on anything else."""
        try:
            return _RESULT.validate_python(fields)
        except ValidationError as error:
            raise JobSchemaError(f"not a job's result: {error}") from error


@dataclass(frozen=True)
class JobFailure:
    """Why a job failed, as data."""

    code: str
    """Stable, for programs."""
    message: str
    """For people; names the fix where there is one."""
    retryable: bool
    """Whether the same request could succeed later."""


@dataclass(frozen=True)
class JobState:
    """How a job stands, and no more."""

    status: JobStatus
    """Where it stands."""
    progress: float
    """The share of the work done, 0 to 1."""
    failure: JobFailure | None
    """Set when failed."""


@dataclass(frozen=True)
class JobRecord:
    """A job as the queue knows it now."""

    job: UpscaleJob
    """What was asked."""
    status: JobStatus
    """Where it stands."""
    progress: float
    """The share of the work done, 0 to 1; never falls during an attempt."""
    started_at: float | None = None
    """When a worker took it, in seconds since the epoch."""
    ended_at: float | None = None
    """When it reached a final status, in seconds since the epoch."""
    expires_at: float | None = None
    """When its pictures will be erased, in seconds since the epoch; set when ended."""
    result: JobResult | None = None
    """Set when succeeded."""
    failure: JobFailure | None = None
    """Set when failed."""


# Built once: 0.5 and 0.25 ms, which every poll of a job would pay again.
_JOB = TypeAdapter(UpscaleJob)
_RESULT = TypeAdapter(JobResult)
