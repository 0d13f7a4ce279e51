"""GET /jobs/{id}/events: a job's life as server-sent events (WHATWG HTML, 9.2), for whoever would rather listen than poll."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from service.auth import CallerOf
from service.errors import JOB_NOT_FOUND, QUEUE_UNAVAILABLE, TOO_MANY_STREAMS, ProblemError
from service.estimates import Estimates
from service.etags import weak_etag
from service.jobs import find_own, log_job
from service.problems import problem_responses
from service.schemas import Job
from worker.contract.queue import JobQueue, QueueUnavailableError

LOOK_EVERY_S = 0.25
"""As often as workers publish progress."""
COMMENT_EVERY_S = 15.0
"""Proxies close what is silent for longer, often after 60 s."""
MOST_STREAMS = 256
"""At once: each asks Redis a few times a second."""
MEDIA_TYPE = "text/event-stream"

EVENT_SCHEMA = {
    "type": "object",
    "description": "One event, of which the stream has many.",
    "required": ["event", "data"],
    "properties": {
        "id": {"type": "string"},
        "event": {"enum": ["job", "gone"]},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/Job"},
        },
    },
}


class Streams:
    """The streams that are open."""

    def __init__(self, queue: JobQueue, estimates: Estimates) -> None:
        self._queue = queue
        self._estimates = estimates
        self._open = 0

    def check_room(self) -> None:
        """Raises ProblemError if too many are open."""
        if self._open >= MOST_STREAMS:
            raise ProblemError(TOO_MANY_STREAMS)

    async def of(self, job_id: str, root_path: str, last_event_id: str | None) -> AsyncIterator[str]:
        """An event each time the job changes, until it has ended or is gone; not the one that the caller saw last."""
        self._open += 1
        try:
            spoke_s = time.monotonic()
            while True:
                try:
                    job = await run_in_threadpool(self._look, job_id, root_path)
                except QueueUnavailableError:  # it comes back; the job is not lost
                    event, final = "", False
                else:
                    if job is None:
                        yield "event: gone\ndata: {}\n\n"
                        return
                    data = job.model_dump_json(by_alias=True)
                    event_id = weak_etag(data.encode())[3:-1]
                    event = (
                        "" if event_id == last_event_id else f"id: {event_id}\nevent: job\ndata: {data}\n\n"
                    )
                    last_event_id, final = event_id, job.status.final
                if not event and time.monotonic() - spoke_s >= COMMENT_EVERY_S:
                    event = ": still here\n\n"
                if event:
                    yield event
                    spoke_s = time.monotonic()
                if final:
                    return
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            self._open -= 1

    def _look(self, job_id: str, root_path: str) -> Job | None:
        record = self._queue.find(job_id)
        return self._estimates.job_now(record, root_path) if record else None


def events_router(queue: JobQueue, estimates: Estimates) -> APIRouter:
    """The route that streams a job's events."""
    router = APIRouter(tags=["jobs"], dependencies=[Depends(log_job)])
    streams = Streams(queue, estimates)

    @router.get(
        "/jobs/{job_id}/events",
        operation_id="getJobEvents",
        summary="A job's life as it happens",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "Events named `job`, each with the whole job as GET /jobs/{id} has it; the last when it has ended. "
                "One named `gone` if it is deleted meanwhile.",
                "content": {MEDIA_TYPE: {"schema": EVENT_SCHEMA}},
            },
            **problem_responses(JOB_NOT_FOUND, TOO_MANY_STREAMS, QUEUE_UNAVAILABLE),
        },
    )
    async def get_events(
        job_id: str,
        caller: CallerOf,
        request: Request,
        last_event_id: Annotated[
            str | None,
            Header(
                description="The id of the last event that came: nothing is sent until the job is different."
            ),
        ] = None,
    ) -> StreamingResponse:
        """Browsers' `EventSource` comes again by itself where the connection breaks, and misses nothing that still holds."""
        await run_in_threadpool(find_own, queue, caller, job_id)
        streams.check_room()
        return StreamingResponse(
            streams.of(job_id, request.scope.get("root_path", ""), last_event_id),
            media_type=MEDIA_TYPE,
            headers={
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",  # nginx would keep the events to itself
            },
        )

    return router
