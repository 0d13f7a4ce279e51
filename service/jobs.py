"""A job's life after its acceptance: asked for, fetched, deleted."""

import re
import time
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import StreamingResponse

from service.auth import Caller, CallerOf
from service.byte_ranges import RangeNotSatisfiableError, wanted_range
from service.errors import (
    JOB_NOT_FINISHED,
    JOB_NOT_FOUND,
    QUEUE_UNAVAILABLE,
    RANGE_NOT_SATISFIABLE,
    RESULT_ERASED,
    STORAGE_UNAVAILABLE,
    ErrorKind,
    ProblemError,
)
from service.estimates import Estimates
from service.etags import has_already, strong_etag, weak_etag
from service.filenames import content_disposition, result_filename
from service.problems import problem_responses
from service.schemas import Job
from worker.contract.blobs import BlobMissingError, BlobStore
from worker.contract.jobs import JobRecord, JobResult, JobStatus, PictureFormat, UpscaleJob
from worker.contract.logs import note_job
from worker.contract.queue import JobQueue

URL_LIVES_S = 300
"""A presigned URL: long enough to begin a download, and whoever finds it in a log afterwards has nothing."""
JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

IfNoneMatch = Annotated[str | None, Header(include_in_schema=False)]

FAILED_EXAMPLE = ErrorKind("picture_damaged", 409, "The job failed", "The picture cannot be decoded.")
CACHE_HEADERS = {
    "ETag": {"description": "For `If-None-Match`; of a result its SHA-256.", "schema": {"type": "string"}},
    "Cache-Control": {"description": "Ask again each time: it may be erased.", "schema": {"type": "string"}},
}


def jobs_router(
    queue: JobQueue, blobs: BlobStore, estimates: Estimates, *, presigned_results: bool
) -> APIRouter:
    """The routes below /jobs. They block, so they are plain functions, which FastAPI calls in threads.

    `presigned_results`: results are fetched from the store itself, where it has URLs for that.
    """
    router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"], dependencies=[Depends(log_job)])

    @router.get(
        "",
        operation_id="getJob",
        summary="How a job stands",
        response_model=Job,
        responses={
            304: {"description": "It stands as before.", "headers": CACHE_HEADERS},
            **problem_responses(JOB_NOT_FOUND, QUEUE_UNAVAILABLE),
        },
    )
    def get_job(
        job_id: str, caller: CallerOf, request: Request, if_none_match: IfNoneMatch = None
    ) -> Response:
        """Poll this until `status` is final; `Retry-After` says when to come again, and `ETag` whether anything is new."""
        record = find_own(queue, caller, job_id)
        job = estimates.job_now(record, request.scope.get("root_path", ""))
        body = job.model_dump_json(by_alias=True).encode()
        headers = {"ETag": weak_etag(body), "Cache-Control": "private, no-cache"}
        if not record.status.final:
            headers["Retry-After"] = str(estimates.poll_after_s(job))
        if has_already(if_none_match, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type="application/json")

    @router.get(
        "/result",
        operation_id="getResult",
        summary="The enlarged picture",
        response_class=Response,
        responses={
            200: {
                "description": "The picture.",
                "headers": CACHE_HEADERS,
                "content": {
                    f.media_type: {"schema": {"type": "string", "format": "binary"}} for f in PictureFormat
                },
            },
            206: {
                "description": "The part that `Range` asks for, a single range of bytes.",
                "headers": {
                    **CACHE_HEADERS,
                    "Content-Range": {"description": "Which part.", "schema": {"type": "string"}},
                },
                "content": {
                    f.media_type: {"schema": {"type": "string", "format": "binary"}} for f in PictureFormat
                },
            },
            303: {
                "description": "The picture lies there, for some minutes; only where the service is configured so.",
                "headers": {"Location": {"description": "In the store.", "schema": {"type": "string"}}},
            },
            304: {"description": "Unchanged.", "headers": CACHE_HEADERS},
            **problem_responses(
                JOB_NOT_FOUND,
                JOB_NOT_FINISHED,
                FAILED_EXAMPLE,
                RESULT_ERASED,
                RANGE_NOT_SATISFIABLE,
                QUEUE_UNAVAILABLE,
                STORAGE_UNAVAILABLE,
            ),
        },
    )
    def get_result(
        job_id: str,
        caller: CallerOf,
        request: Request,
        if_none_match: IfNoneMatch = None,
        byte_range: Annotated[str | None, Header(alias="Range", include_in_schema=False)] = None,
        if_range: Annotated[str | None, Header(include_in_schema=False)] = None,
    ) -> Response:
        """The picture itself, once the job has succeeded. A failed job answers with the failure's own code."""
        record = find_own(queue, caller, job_id)
        result = _result(record)
        etag = strong_etag(result.sha256)
        headers = {"ETag": etag, "Cache-Control": "private, no-cache", "Accept-Ranges": "bytes"}
        if has_already(if_none_match, etag):
            return Response(status_code=304, headers=headers)
        size_bytes = result.size_bytes
        try:
            # A presigned URL is for one method.
            if presigned_results and request.method == "GET":
                url = blobs.presigned_url(record.job.result_key, _url_lives_s(record))
                if url is not None:
                    return Response(status_code=303, headers={"Location": url, "Cache-Control": "no-store"})
            part = wanted_range(byte_range, if_range, etag, size_bytes)
            blob = blobs.stream(record.job.result_key, part)
        except RangeNotSatisfiableError as error:
            raise ProblemError(
                RANGE_NOT_SATISFIABLE, headers={"Content-Range": f"bytes */{size_bytes}"}
            ) from error
        except BlobMissingError as error:
            raise ProblemError(RESULT_ERASED) from error
        if part is not None:
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size_bytes}"
        headers |= {
            "Content-Length": str(blob.size_bytes if part is None else len(part)),
            "Content-Disposition": content_disposition(saved_as(record.job, result)),
            "X-Content-Type-Options": "nosniff",
        }
        return StreamingResponse(
            blob.chunks,
            status_code=200 if part is None else 206,
            headers=headers,
            media_type=result.media_type,
        )

    # Starlette leaves the body out, and FastAPI would give both the same operation id.
    router.add_api_route("/result", get_result, methods=["HEAD"], include_in_schema=False)

    @router.delete(
        "",
        operation_id="deleteJob",
        status_code=204,
        response_class=Response,
        summary="Cancel a job and erase its pictures",
        responses=problem_responses(JOB_NOT_FOUND, QUEUE_UNAVAILABLE, STORAGE_UNAVAILABLE),
    )
    def delete_job(job_id: str, caller: CallerOf) -> None:
        """A job that waits or runs ends as `canceled`; of a job that had ended, the record is deleted too."""
        delete(queue, blobs, find_own(queue, caller, job_id))

    return router


async def log_job(job_id: str) -> None:
    """Name the job in the log's lines. Async, so that it runs in the request's own context, where the access log's is written."""
    if JOB_ID.fullmatch(job_id):
        note_job(job_id)


def find_own(queue: JobQueue, caller: Caller, job_id: str) -> JobRecord:
    """The caller's job; somebody else's is answered as one that does not exist. Raises ProblemError."""
    record = queue.find(job_id) if JOB_ID.fullmatch(job_id) else None
    if record is None or record.job.owner != caller.id:
        raise ProblemError(JOB_NOT_FOUND)
    return record


def _url_lives_s(record: JobRecord) -> int:
    """Not beyond the result itself."""
    left_s = (record.expires_at or 0.0) - time.time()
    return max(1, min(URL_LIVES_S, int(left_s)))


def delete(queue: JobQueue, blobs: BlobStore, record: JobRecord) -> None:
    """Cancel a job that has not ended, forget one that has, and erase its pictures. Raises what the ports raise."""
    job, status = record.job, record.status
    if not record.status.final:
        queue.cancel(job.id)
        now = queue.find(job.id)
        status = now.status if now else JobStatus.CANCELED
    # The pictures before the record: should erasing fail, the record is still there to try it again by.
    blobs.erase(job.prefix)
    if record.status.final or status is not JobStatus.CANCELED:  # it had ended, or did so just now
        queue.forget(job.id)


def saved_as(job: UpscaleJob, result: JobResult) -> str:
    """The name of a result's file."""
    size = f"{result.width_px}x{result.height_px}" if job.finish.resizes else f"x{job.scale}"
    return result_filename(job.input.filename, size, job.output_format.suffix)


def _result(record: JobRecord) -> JobResult:
    if record.status is JobStatus.CANCELED:
        raise ProblemError(RESULT_ERASED)
    if record.failure is not None:
        failure = record.failure
        kind = ErrorKind(failure.code, FAILED_EXAMPLE.status, FAILED_EXAMPLE.title, failure.message)
        raise ProblemError(kind, retryable=failure.retryable)
    if record.result is None:
        raise ProblemError(JOB_NOT_FINISHED, f"The job is {record.status}. {JOB_NOT_FINISHED.fix}")
    return record.result
