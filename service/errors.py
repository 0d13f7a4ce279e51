"""Every way in which the gateway says no: one table, which docs/errors.md shows.

A job that failed in a worker answers with the worker's own code, which is not in this table.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class ErrorKind:
    """One stable code and what goes with it."""

    code: str
    """Stable, for programs."""
    status: int
    """The HTTP status."""
    title: str
    """The same for every occurrence, for people."""
    fix: str
    """What to do about it; the detail where an occurrence has nothing better to say."""
    retry_after_s: int | None = None
    """When it is worth asking again, where time alone may help."""


class ProblemError(Exception):
    """The request is answered with a problem (RFC 9457)."""

    def __init__(
        self,
        kind: ErrorKind,
        detail: str | None = None,
        *,
        headers: dict[str, str] | None = None,
        **members: object,
    ) -> None:
        super().__init__(detail or kind.fix)
        self.kind = kind
        self.detail = detail or kind.fix
        self.headers = headers or {}
        self.members = members
        """More members of the problem object, as RFC 9457 allows."""


INVALID_REQUEST = ErrorKind(
    "invalid_request",
    422,
    "The request is malformed",
    "Correct the fields that `errors` names.",
)
MALFORMED_BODY = ErrorKind(
    "malformed_body",
    400,
    "The body cannot be read",
    "Send a well-formed multipart/form-data body that ends with its closing boundary.",
)
UNSUPPORTED_MEDIA_TYPE = ErrorKind(
    "unsupported_media_type",
    415,
    "The body is of a kind that is not understood",
    "Send multipart/form-data with the picture in the field `image`, or the picture itself with a Content-Type of image/*.",
)
EMPTY_IMAGE = ErrorKind(
    "empty_image",
    400,
    "The picture has no bytes",
    "Send a file that is not empty.",
)
UNSUPPORTED_IMAGE = ErrorKind(
    "unsupported_image",
    415,
    "Not a picture of a supported format",
    "Send JPEG, PNG, WebP, TIFF, AVIF, GIF, BMP, HEIC, JPEG 2000 or Netpbm. What counts is the file's content, not its name.",
)
IMAGE_TRUNCATED = ErrorKind(
    "image_truncated",
    400,
    "The picture is cut off",
    "The file ends before the picture does: send the whole file.",
)
IMAGE_DAMAGED = ErrorKind(
    "image_damaged",
    400,
    "The picture is damaged",
    "The file's header cannot be read: export the picture again and send that.",
)
PICTURE_ANIMATED = ErrorKind(
    "picture_animated",
    415,
    "The picture has several frames or pages",
    "Send one, or ask for `frames=first` or `frames=all`.",
)
UPLOAD_TOO_LARGE = ErrorKind(
    "upload_too_large",
    413,
    "The upload has too many bytes",
    "Send a smaller file; `max_bytes` says how large it may be.",
)
TOO_MANY_PIXELS = ErrorKind(
    "too_many_pixels",
    413,
    "The picture or its result has too many pixels",
    "Send a smaller picture or choose a smaller scale; `max_pixels` says how many there may be.",
)
RESULT_TOO_LARGE = ErrorKind(
    "result_too_large",
    400,
    "The result would be larger than its format allows",
    "Choose format=png or a smaller scale.",
)
UPLOAD_TIMED_OUT = ErrorKind(
    "upload_timed_out",
    408,
    "The upload stood still",
    "No byte of the body came for too long: send it again.",
)
UPLOAD_TOO_SLOW = ErrorKind(
    "upload_too_slow",
    408,
    "The upload comes too slowly",
    "Send it again over a faster connection, or send a smaller file.",
)
UNKNOWN_MODEL = ErrorKind(
    "unknown_model",
    400,
    "No such model is published",
    "Choose one of GET /models, or leave `model` out.",
)
SCALE_NOT_AVAILABLE = ErrorKind(
    "scale_not_available",
    400,
    "The model is not published at that scale",
    "Choose one of the model's scales in GET /models.",
)
IDEMPOTENCY_KEY_REUSED = ErrorKind(
    "idempotency_key_reused",
    422,
    "The Idempotency-Key stands for another request",
    "Another picture, name or options were sent with that key: take a new key for each job.",
)
REQUEST_IN_PROGRESS = ErrorKind(
    "request_in_progress",
    409,
    "The same request is still being received",
    "A request with that Idempotency-Key is on its way, or its job was just deleted: ask again.",
    retry_after_s=1,
)
API_KEY_MISSING = ErrorKind(
    "api_key_missing",
    401,
    "An API key is needed",
    "Send `Authorization: Bearer enl_…` or `X-API-Key: enl_…`. Whoever runs the service creates a key by `enlarger keys create NAME`.",
)
API_KEY_INVALID = ErrorKind(
    "api_key_invalid",
    401,
    "The API key opens nothing",
    "It is not a key of this service, or it was revoked. Whoever runs the service creates a new one by `enlarger keys create NAME`.",
)
TOO_MANY_REQUESTS = ErrorKind(
    "too_many_requests",
    429,
    "Too many requests in the last minute",
    "Wait as long as `Retry-After` says.",
    retry_after_s=60,
)
TOO_MANY_OWN_JOBS = ErrorKind(
    "too_many_own_jobs",
    429,
    "Too many of your jobs wait",
    "Nothing was accepted: send the picture again when some of your jobs have begun.",
    retry_after_s=10,
)
PIXEL_QUOTA_USED_UP = ErrorKind(
    "pixel_quota_used_up",
    429,
    "Too many megapixels in the last day",
    "Nothing was accepted: wait as long as `Retry-After` says, or send a smaller picture. An `ensemble` counts eight times.",
    retry_after_s=3600,
)
WEBHOOKS_OFF = ErrorKind(
    "webhooks_off",
    400,
    "This service sends no webhooks",
    "Leave `webhook_url` out and poll the job. Whoever runs the service: set ENLARGER_WEBHOOK_SECRET.",
)
WEBHOOK_URL_REFUSED = ErrorKind(
    "webhook_url_refused",
    400,
    "The webhook's URL is not one that may be called",
    "Send an http or https URL of a host on the public internet, without a user name or a password.",
)
IMAGE_URLS_OFF = ErrorKind(
    "image_urls_off",
    400,
    "Pictures are not fetched from URLs here",
    "Send the picture itself. Whoever runs the service can allow it by ENLARGER_IMAGE_URLS.",
)
IMAGE_URL_REFUSED = ErrorKind(
    "image_url_refused",
    400,
    "The picture's URL is not one that may be fetched",
    "Send an http or https URL of a host on the public internet, without a user name or a password.",
)
IMAGE_URL_FAILED = ErrorKind(
    "image_url_failed",
    424,
    "The picture cannot be fetched",
    "Its host has to be on the public internet and to answer 200 with the picture; or send the picture itself.",
)
NOT_FOUND = ErrorKind(
    "not_found",
    404,
    "Nothing is at this address",
    "GET /docs lists the addresses.",
)
METHOD_NOT_ALLOWED = ErrorKind(
    "method_not_allowed",
    405,
    "The method is not allowed here",
    "The Allow header says which are.",
)
JOB_NOT_FOUND = ErrorKind(
    "job_not_found",
    404,
    "No such job",
    "The id is wrong, the job was deleted, or its time is over.",
)
JOB_NOT_FINISHED = ErrorKind(
    "job_not_finished",
    409,
    "The job has not ended",
    "Poll GET /jobs/{id} until its status is final.",
    retry_after_s=1,
)
RESULT_ERASED = ErrorKind(
    "result_erased",
    410,
    "The result is gone",
    "The job was canceled or its pictures were erased: send the picture again.",
)
GROUP_NOT_FOUND = ErrorKind(
    "group_not_found",
    404,
    "No such group",
    "The id is wrong, the group was deleted, or its time is over.",
)
GROUP_NOT_FINISHED = ErrorKind(
    "group_not_finished",
    409,
    "Some jobs of the group have not ended",
    "Poll GET /groups/{id} until it has `ended`.",
    retry_after_s=1,
)
RANGE_NOT_SATISFIABLE = ErrorKind(
    "range_not_satisfiable",
    416,
    "The range begins behind the end of the result",
    "Content-Range says how many bytes there are.",
)
TOO_MANY_STREAMS = ErrorKind(
    "too_many_streams",
    503,
    "Too many listen to their jobs",
    "Poll the job, or come again later.",
    retry_after_s=5,
)
QUEUE_FULL = ErrorKind(
    "queue_full",
    503,
    "Too much waits in the queue",
    "Nothing was accepted: send the picture again later.",
    retry_after_s=30,
)
TOO_MANY_UPLOADS = ErrorKind(
    "too_many_uploads",
    503,
    "Too many uploads are under way",
    "Nothing was accepted: send the picture again in a moment. Whoever runs the service: start another gateway, or set ENLARGER_MAX_UPLOADS.",
    retry_after_s=1,
)
QUEUE_UNAVAILABLE = ErrorKind(
    "queue_unavailable",
    503,
    "The queue does not answer",
    "Try again later. Whoever runs the service: check Redis and ENLARGER_REDIS_URL.",
    retry_after_s=5,
)
STORAGE_UNAVAILABLE = ErrorKind(
    "storage_unavailable",
    503,
    "The blob store does not answer",
    "Try again later. Whoever runs the service: check ENLARGER_BLOBS_URL, the disk and the credentials.",
    retry_after_s=5,
)
MODELS_UNAVAILABLE = ErrorKind(
    "models_unavailable",
    503,
    "The models cannot be read",
    "Try again later. Whoever runs the service: check ENLARGER_CHECKPOINTS and the gateway's log.",
    retry_after_s=30,
)
NOT_READY = ErrorKind(
    "not_ready",
    503,
    "The service cannot take jobs now",
    "`checks` says what is wrong.",
    retry_after_s=5,
)
INTERNAL_ERROR = ErrorKind(
    "internal_error",
    500,
    "Something went wrong in the gateway",
    "Whoever runs the service finds the reason in the gateway's log.",
)

ERROR_KINDS = (
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
    API_KEY_MISSING,
    API_KEY_INVALID,
    TOO_MANY_REQUESTS,
    TOO_MANY_OWN_JOBS,
    PIXEL_QUOTA_USED_UP,
    WEBHOOKS_OFF,
    WEBHOOK_URL_REFUSED,
    IMAGE_URLS_OFF,
    IMAGE_URL_REFUSED,
    IMAGE_URL_FAILED,
    NOT_FOUND,
    METHOD_NOT_ALLOWED,
    JOB_NOT_FOUND,
    JOB_NOT_FINISHED,
    RESULT_ERASED,
    GROUP_NOT_FOUND,
    GROUP_NOT_FINISHED,
    RANGE_NOT_SATISFIABLE,
    TOO_MANY_STREAMS,
    QUEUE_FULL,
    TOO_MANY_UPLOADS,
    QUEUE_UNAVAILABLE,
    STORAGE_UNAVAILABLE,
    MODELS_UNAVAILABLE,
    NOT_READY,
    INTERNAL_ERROR,
)


def markdown_table() -> str:
    """The table as it stands in docs/errors.md."""
    rows = [
        f"| `{kind.code}` | {kind.status} | {kind.title}. | {kind.fix} |"
        for kind in sorted(ERROR_KINDS, key=lambda kind: (kind.status, kind.code))
    ]
    return "\n".join(["| code | status | meaning | what to do |", "|---|---|---|---|", *rows]) + "\n"
