"""GET /jobs: the caller's own jobs, page by page."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from math import isfinite
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from service.auth import CallerOf
from service.errors import INVALID_REQUEST, QUEUE_UNAVAILABLE
from service.problems import invalid_request, problem_responses
from service.schemas import FieldError, Job, JobList
from worker.contract.jobs import JobStatus
from worker.contract.queue import Cursor, JobQueue

DEFAULT_JOBS = 20
MAX_JOBS = 100
MOST_LOOKED_AT = 1000
"""Jobs that one request looks at: where few are of the status that is asked for, a page may be short, and yet not the last."""

LINK = {"description": 'The next page, as `<URL>; rel="next"` (RFC 8288).', "schema": {"type": "string"}}


def job_list_router(queue: JobQueue) -> APIRouter:
    """The route that lists jobs. It blocks, so it is a plain function, which FastAPI calls in a thread."""
    router = APIRouter(tags=["jobs"])

    @router.get(
        "/jobs",
        operation_id="listJobs",
        summary="Your jobs, the newest first",
        responses={
            200: {"headers": {"Link": LINK}},
            **problem_responses(INVALID_REQUEST, QUEUE_UNAVAILABLE),
        },
    )
    def list_jobs(
        caller: CallerOf,
        request: Request,
        response: Response,
        status: Annotated[JobStatus | None, Query(description="Only jobs that stand so.")] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_JOBS, description="At most so many.")] = DEFAULT_JOBS,
        cursor: Annotated[
            str | None, Query(max_length=200, description="Where to go on: from `next` of the last page.")
        ] = None,
    ) -> JobList:
        """Jobs are listed as long as they are known. Go on with `next` until it is null."""
        root_path = request.scope.get("root_path", "")
        jobs: list[Job] = []
        last: Cursor | None = None
        next_url = None
        for number, (place, record) in enumerate(queue.jobs_of(caller.id, before=_cursor(cursor))):
            if last is not None and (len(jobs) == limit or number == MOST_LOOKED_AT):
                query = {"status": status, "limit": limit, "cursor": _text(last)}
                next_url = f"{root_path}/jobs?{urlencode({k: v for k, v in query.items() if v is not None})}"
                response.headers["Link"] = f'<{next_url}>; rel="next"'
                break
            last = place
            if status in (None, record.status):
                jobs.append(Job.from_record(record, root_path))
        response.headers["Cache-Control"] = "private, no-cache"
        return JobList(jobs=jobs, next=next_url)

    return router


def _text(cursor: Cursor) -> str:
    return urlsafe_b64encode(json.dumps(cursor).encode()).decode().rstrip("=")


def _cursor(text: str | None) -> Cursor | None:
    if text is None:
        return None
    try:
        created_at, job_id = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if not isfinite(created_at):
            raise ValueError(created_at)
        return float(created_at), str(job_id)
    except (ValueError, TypeError, RecursionError) as error:
        raise invalid_request(
            [FieldError(field="cursor", message="Must be one from a page's `next`")]
        ) from error
