"""POST /upscale/batch: many pictures in one request, each a job of its own."""

import hashlib
import json
import os
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool

from service.admission import Admission
from service.auth import Caller, CallerOf
from service.errors import (
    IDEMPOTENCY_KEY_REUSED,
    INVALID_REQUEST,
    MALFORMED_BODY,
    QUEUE_FULL,
    QUEUE_UNAVAILABLE,
    REQUEST_IN_PROGRESS,
    STORAGE_UNAVAILABLE,
    TOO_MANY_OWN_JOBS,
    TOO_MANY_UPLOADS,
    UNSUPPORTED_IMAGE,
    UNSUPPORTED_MEDIA_TYPE,
    UPLOAD_TIMED_OUT,
    UPLOAD_TOO_LARGE,
    UPLOAD_TOO_SLOW,
    ProblemError,
)
from service.group_store import GroupStore, StoredGroup, StoredItem
from service.groups import Group, Groups, group_path
from service.intake import Accepted, Intake
from service.limits import Limits
from service.problems import problem_responses
from service.schemas import UpscaleOptions
from service.uploads import MAX_BATCH_FILES, Upload, received_batch, too_large
from service.upscale import IDEMPOTENCY_KEY, LOCATION, REPLAYED, checked_options, options_documentation
from worker.contract.blobs import BlobStoreError
from worker.contract.jobs import JobFailure, Priority

MOST_BATCHES = 4
"""That one gateway receives at once: each may hold a hundred temporary files open."""

WHOLE_REQUEST = (REQUEST_IN_PROGRESS, IDEMPOTENCY_KEY_REUSED)
"""What is wrong with the request where it is wrong with one of its pictures."""


class Batches:
    """Makes a group of jobs of a batch."""

    def __init__(self, admission: Admission, intake: Intake, store: GroupStore, limits: Limits) -> None:
        self._admission = admission
        self._intake = intake
        self._store = store
        self._limits = limits

    def accept(
        self, caller: Caller, uploads: Sequence[Upload], options: UpscaleOptions, key: str | None
    ) -> tuple[StoredGroup, bool]:
        """The group, and whether an earlier request made all of it. Blocks.

        A picture that is refused costs the others nothing. Raises ProblemError where none becomes a job, and what the ports raise.
        """
        group_id = self._store.new_id(caller.id, key, _fingerprint(uploads, options) if key else "")
        items, first, replayed = [], None, True
        for index, upload in enumerate(uploads):
            try:
                accepted = self._accepted(caller, upload, options, item_key(key, index))
            except (ProblemError, BlobStoreError) as error:
                problem = error if isinstance(error, ProblemError) else ProblemError(STORAGE_UNAVAILABLE)
                if problem.kind in WHOLE_REQUEST:
                    raise
                first = first or problem
                items.append(StoredItem(upload.filename, None, _refusal(problem)))
            else:
                replayed = replayed and accepted.replayed
                items.append(StoredItem(upload.filename, accepted.record.job.id, None))
        if first and all(item.job_id is None for item in items):
            detail = f"None of the {len(items)} pictures was accepted. The first: {first.detail}"
            raise ProblemError(first.kind, detail, headers=first.headers, **first.members)
        return self._store.put(group_id, caller.id, items), replayed

    def _accepted(self, caller: Caller, upload: Upload, options: UpscaleOptions, key: str | None) -> Accepted:
        if upload.file.seek(0, os.SEEK_END) > self._limits.max_upload_bytes:
            raise too_large(self._limits.max_upload_bytes)
        self._admission.check(caller, key)
        return self._intake.accept(caller, upload, options, key)


def item_key(key: str | None, index: int) -> str | None:
    """The Idempotency-Key of one picture: no client can send one with a line's end in it."""
    return None if key is None else f"{key}\n{index}"


def _refusal(problem: ProblemError) -> JobFailure:
    return JobFailure(problem.kind.code, problem.detail, problem.kind.status in (429, 503))


def _fingerprint(uploads: Sequence[Upload], options: UpscaleOptions) -> str:
    asked: list[Any] = [options.model_dump(mode="json")]
    for upload in uploads:
        upload.file.seek(0)
        digest = hashlib.file_digest(upload.file, "sha256")  # type: ignore[arg-type]
        asked.append([upload.filename, digest.hexdigest()])
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def batch_router(admission: Admission, batches: Batches, groups: Groups, limits: Limits) -> APIRouter:
    """The route that accepts batches."""
    router = APIRouter(tags=["groups"])
    under_way = 0

    @router.post(
        "/upscale/batch",
        operation_id="upscaleBatch",
        status_code=202,
        summary="Send many pictures to be enlarged",
        response_description="Accepted, at least some: `items` says what became of each. Poll the group at `Location`.",
        responses={
            202: {
                "headers": {
                    "Location": LOCATION | {"description": "The group."},
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
                UNSUPPORTED_IMAGE,
                UPLOAD_TOO_LARGE,
                UPLOAD_TIMED_OUT,
                UPLOAD_TOO_SLOW,
                IDEMPOTENCY_KEY_REUSED,
                REQUEST_IN_PROGRESS,
                TOO_MANY_OWN_JOBS,
                QUEUE_FULL,
                TOO_MANY_UPLOADS,
                QUEUE_UNAVAILABLE,
                STORAGE_UNAVAILABLE,
            ),
        },
        openapi_extra=_request_documentation(),
    )
    async def upscale_batch(
        caller: CallerOf,
        request: Request,
        response: Response,
        idempotency_key: Annotated[str | None, IDEMPOTENCY_KEY] = None,
    ) -> Group:
        """The options hold for all pictures; `priority` is `bulk` unless it is sent.

        A picture that is refused costs the others nothing; where none is accepted, the answer is what is wrong with the first.
        """
        nonlocal under_way  # on the event loop alone, and so without a lock
        if under_way >= MOST_BATCHES:
            raise ProblemError(TOO_MANY_UPLOADS)
        under_way += 1
        try:
            async with (
                admission.admitted(caller, item_key(idempotency_key, 0)),
                received_batch(request, limits) as uploads,
            ):
                options = checked_options({"priority": Priority.BULK, **uploads[0].options})
                stored, replayed = await run_in_threadpool(
                    batches.accept, caller, uploads, options, idempotency_key
                )
        finally:
            under_way -= 1
        root_path = request.scope.get("root_path", "")
        group = await run_in_threadpool(groups.now, stored, root_path)
        response.headers["Location"] = group_path(group.id, root_path)
        response.headers["Retry-After"] = str(groups.poll_after_s(group))
        if replayed:
            response.headers["Idempotency-Replayed"] = "true"
        return group

    return router


def _request_documentation() -> dict[str, Any]:
    pictures = {
        "type": "array",
        "minItems": 1,
        "maxItems": MAX_BATCH_FILES,
        "items": {
            "type": "string",
            "contentMediaType": "application/octet-stream",
            "format": "binary",  # OpenAPI 3.0's word, by which generators of clients go
        },
        "description": "The pictures, each a field of this name.",
    }
    return options_documentation(pictures, only_form=True)
