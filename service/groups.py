"""A batch's life after its acceptance: asked for, fetched as one ZIP, deleted."""

from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import ConfigDict, Field

from service.archive import Entry, Missing, archive
from service.auth import Caller, CallerOf
from service.errors import (
    GROUP_NOT_FINISHED,
    GROUP_NOT_FOUND,
    QUEUE_UNAVAILABLE,
    RESULT_ERASED,
    STORAGE_UNAVAILABLE,
    ProblemError,
)
from service.estimates import SHORTEST_PAUSE_S
from service.etags import has_already, weak_etag
from service.group_store import GroupStore, StoredGroup
from service.jobs import CACHE_HEADERS, JOB_ID, IfNoneMatch, delete, saved_as
from service.problems import problem_responses
from service.schemas import JobError, JobLinks, WireModel, job_path
from worker.contract.blobs import BlobStore
from worker.contract.jobs import JobFailure, JobRecord, JobState, JobStatus
from worker.contract.queue import JobQueue

FORGOTTEN = JobFailure("result_erased", "The job was deleted, or its time is over.", retryable=False)
CANCELED = JobFailure("canceled", "The job was canceled.", retryable=False)


class GroupItem(WireModel):
    """A picture of the batch."""

    filename: str
    """The last part of the name that the client gave; may be empty."""
    status: JobStatus | None = None
    """Of its job; null where it became none, or the job is gone."""
    progress: float = Field(ge=0, le=1)
    """The share of the work that is done."""
    error: JobError | None = None
    """Why it was refused, failed or is gone."""
    links: JobLinks | None = None
    """Where its job is."""


class Group(WireModel):
    """Many pictures on their way."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "5b1c9e0f7a6d4c3b9e8f7a6b5c4d3e2f",
                    "created_at": "2026-03-01T12:00:00Z",
                    "ended": True,
                    "progress": 1.0,
                    "counts": {"succeeded": 1, "refused": 1},
                    "items": [
                        {
                            "filename": "photo.jpg",
                            "status": "succeeded",
                            "progress": 1.0,
                            "error": None,
                            "links": {
                                "self": "/jobs/0f6a1c9be0d34b5f8a7d2c3e4f5a6b7c",
                                "result": "/jobs/0f6a1c9be0d34b5f8a7d2c3e4f5a6b7c/result",
                            },
                        },
                        {
                            "filename": "notes.txt",
                            "status": None,
                            "progress": 0.0,
                            "error": {
                                "code": "unsupported_image",
                                "message": "Send a PNG, JPEG or WebP.",
                                "retryable": False,
                            },
                            "links": None,
                        },
                    ],
                    "links": {
                        "self": "/groups/5b1c9e0f7a6d4c3b9e8f7a6b5c4d3e2f",
                        "result": "/groups/5b1c9e0f7a6d4c3b9e8f7a6b5c4d3e2f/result",
                    },
                }
            ]
        }
    )

    id: str
    """Unguessable: who knows it may read and delete the group."""
    created_at: datetime
    """When it was accepted (RFC 3339, UTC)."""
    ended: bool
    """Whether every job has ended, well or not."""
    progress: float = Field(ge=0, le=1)
    """The share of the work that is done, each picture counting as much as another."""
    counts: dict[str, int]
    """How many pictures are of each status; `refused` became no job, `gone` were deleted or their time is over."""
    items: list[GroupItem]
    """In the order of the request."""
    links: JobLinks
    """Where to go from here: the results as one ZIP, once the group has ended and any picture has one."""


class Groups:
    """Groups as clients see them. Blocks; every method may raise QueueUnavailableError."""

    def __init__(self, queue: JobQueue, blobs: BlobStore, store: GroupStore) -> None:
        self._queue = queue
        self._blobs = blobs
        self._store = store

    def find_own(self, caller: Caller, group_id: str) -> StoredGroup:
        """The caller's group; somebody else's is answered as one that does not exist. Raises ProblemError."""
        group = self._store.find(group_id) if JOB_ID.fullmatch(group_id) else None
        if group is None or group.owner != caller.id:
            raise ProblemError(GROUP_NOT_FOUND)
        return group

    def now(self, group: StoredGroup, root_path: str) -> Group:
        """The group as it stands."""
        states = iter(self._queue.states(group.job_ids))
        items, counts = [], Counter[str]()
        for stored in group.items:
            if stored.job_id is None:
                item, word = _item(stored.filename, None, stored.refusal, ""), "refused"
            elif state := next(states):
                item, word = (
                    _item(stored.filename, state, state.failure, job_path(stored.job_id, root_path)),
                    state.status,
                )
            else:
                item, word = _item(stored.filename, None, FORGOTTEN, ""), "gone"
            items.append(item)
            counts[word] += 1
        running = [item for item in items if item.status and not item.status.final]
        url = group_path(group.id, root_path)
        done = sum(1.0 if item not in running else item.progress for item in items)
        return Group(
            id=group.id,
            created_at=datetime.fromtimestamp(group.created_at, UTC),
            ended=not running,
            progress=round(done / len(items), 4),
            counts=dict(counts),
            items=items,
            links=JobLinks(
                self=url, result=f"{url}/result" if not running and counts[JobStatus.SUCCEEDED] else None
            ),
        )

    def poll_after_s(self, group: Group) -> int:
        """When to come again to hear something new."""
        waiting = sum(item.status is not None and not item.status.final for item in group.items)
        return max(SHORTEST_PAUSE_S, waiting // 20)

    def results(self, group: StoredGroup) -> tuple[list[Entry], list[Missing]]:
        """What there is to fetch, and what there is not. Raises ProblemError where a job has not ended, or every result is gone."""
        entries, missing = [], []
        for index, item in enumerate(group.items):
            record = self._queue.find(item.job_id) if item.job_id else None
            if record is not None and not record.status.final:
                raise ProblemError(GROUP_NOT_FINISHED)
            if record is not None and record.result is not None and not _expired(record):
                entries.append(
                    Entry(
                        saved_as(record.job, record.result), record.job.result_key, record.result.size_bytes
                    )
                )
            else:
                missing.append(Missing(index, item.filename, item.refusal or _reason(record)))
        if not entries:
            raise ProblemError(
                RESULT_ERASED, "No picture of the group has a result: GET /groups/{id} says why."
            )
        return entries, missing

    def delete(self, group: StoredGroup) -> None:
        """Cancel and erase every job, then forget the group. Raises BlobStoreError, and then it can be tried again."""
        for job_id in group.job_ids:
            record = self._queue.find(job_id)
            if record is not None:
                delete(self._queue, self._blobs, record)
        self._store.forget(group.id)


def _item(filename: str, state: JobState | None, failure: JobFailure | None, url: str) -> GroupItem:
    succeeded = state is not None and state.status is JobStatus.SUCCEEDED
    return GroupItem(
        filename=filename,
        status=state.status if state else None,
        progress=state.progress if state else 0.0,
        error=JobError(**asdict(failure)) if failure else None,
        links=JobLinks(self=url, result=f"{url}/result" if succeeded else None) if url else None,
    )


def _expired(record: JobRecord) -> bool:
    return record.expires_at is not None and record.expires_at < datetime.now(UTC).timestamp()


def _reason(record: JobRecord | None) -> JobFailure:
    if record is None or record.status is JobStatus.SUCCEEDED:
        return FORGOTTEN
    return record.failure or CANCELED


def group_path(group_id: str, root_path: str) -> str:
    """Where a group lies."""
    return f"{root_path}/groups/{group_id}"


def groups_router(groups: Groups, blobs: BlobStore) -> APIRouter:
    """The routes below /groups. They block, so they are plain functions, which FastAPI calls in threads."""
    router = APIRouter(prefix="/groups/{group_id}", tags=["groups"])

    @router.get(
        "",
        operation_id="getGroup",
        summary="How a batch stands",
        response_model=Group,
        responses={
            304: {"description": "It stands as before.", "headers": CACHE_HEADERS},
            **problem_responses(GROUP_NOT_FOUND, QUEUE_UNAVAILABLE),
        },
    )
    def get_group(
        group_id: str, caller: CallerOf, request: Request, if_none_match: IfNoneMatch = None
    ) -> Response:
        """Poll this until `ended`; `Retry-After` says when to come again, and `ETag` whether anything is new."""
        group = groups.now(groups.find_own(caller, group_id), request.scope.get("root_path", ""))
        body = group.model_dump_json(by_alias=True).encode()
        headers = {"ETag": weak_etag(body), "Cache-Control": "private, no-cache"}
        if not group.ended:
            headers["Retry-After"] = str(groups.poll_after_s(group))
        if has_already(if_none_match, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type="application/json")

    @router.get(
        "/result",
        operation_id="getGroupResult",
        summary="The enlarged pictures as one ZIP",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "The results under their uploads' names, and `errors.json` where a picture has none.",
                "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
            },
            **problem_responses(
                GROUP_NOT_FOUND, GROUP_NOT_FINISHED, RESULT_ERASED, QUEUE_UNAVAILABLE, STORAGE_UNAVAILABLE
            ),
        },
    )
    def get_group_result(group_id: str, caller: CallerOf) -> StreamingResponse:
        """The pictures in one file, not compressed again, once every job has ended."""
        entries, missing = groups.results(groups.find_own(caller, group_id))
        zip_stream = archive(blobs, entries, missing)
        return StreamingResponse(
            iter(zip_stream),
            media_type="application/zip",
            headers={
                "Content-Length": str(len(zip_stream)),
                "Content-Disposition": 'attachment; filename="enlarged.zip"',
                "Cache-Control": "private, no-store",
                "X-Content-Type-Options": "nosniff",
            },
        )

    @router.delete(
        "",
        operation_id="deleteGroup",
        status_code=204,
        response_class=Response,
        summary="Cancel a batch and erase its pictures",
        responses=problem_responses(GROUP_NOT_FOUND, QUEUE_UNAVAILABLE, STORAGE_UNAVAILABLE),
    )
    def delete_group(group_id: str, caller: CallerOf) -> None:
        """Jobs that wait or run end as canceled; what has ended is erased."""
        groups.delete(groups.find_own(caller, group_id))

    return router
