"""Whether the process runs, and whether the service can take jobs."""

import logging
from collections.abc import Callable
from typing import Literal

from fastapi import APIRouter

from service.errors import NOT_READY, ProblemError
from service.problems import KIND_OF_PORT_ERROR, problem_responses
from service.schemas import CheckName, ReadinessCheck, WireModel
from sr_models.manifest import CheckpointFolder
from worker.contract.blobs import BlobStore
from worker.contract.fleet import Fleet, LiveWorker
from worker.contract.queue import JobQueue

logger = logging.getLogger(__name__)


class Health(WireModel):
    """The process runs."""

    status: Literal["ok"] = "ok"
    """Always."""


class Readiness(WireModel):
    """The service can take jobs."""

    status: Literal["ready"] = "ready"
    """Otherwise the answer is the problem `not_ready`."""
    checks: list[ReadinessCheck]
    """Everything that was checked."""


def health_router(
    queue: JobQueue, blobs: BlobStore, fleet: Fleet, checkpoints: CheckpointFolder
) -> APIRouter:
    """The routes that an orchestrator asks."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz", operation_id="healthz", summary="Whether the process runs")
    async def healthz() -> Health:
        """Asks nothing of anyone: a gateway is not to be restarted because Redis is down."""
        return Health()

    @router.get(
        "/readyz",
        operation_id="readyz",
        summary="Whether jobs can be taken",
        responses=problem_responses(NOT_READY),
    )
    def readyz() -> Readiness:
        """Redis and the blob store answer, a worker lives, and models are published.

        A model that workers cannot load does not make the service unready, since they go on with the version before; the
        detail says so.
        """
        checks = [
            _check("queue", lambda: _answers(queue.ping)),
            _check("storage", lambda: _answers(blobs.ping)),
            _check("workers", lambda: _alive(fleet.live_workers())),
            _check("models", lambda: _found(len(checkpoints.production()), "published checkpoint")),
        ]
        if not all(check.ok for check in checks):
            wrong = "; ".join(f"{check.name}: {check.detail}" for check in checks if not check.ok)
            raise ProblemError(NOT_READY, wrong, checks=checks)
        return Readiness(checks=checks)

    return router


def _answers(ping: Callable[[], None]) -> tuple[bool, str]:
    ping()
    return True, "answers"


def _found(count: int, noun: str) -> tuple[bool, str]:
    return count > 0, f"{count or 'no'} {noun}{'' if count == 1 else 's'}"


def _alive(workers: list[LiveWorker]) -> tuple[bool, str]:
    ok, detail = _found(len(workers), "live worker")
    faults = dict.fromkeys(fault for worker in workers for fault in worker.faults)
    return ok, "; ".join([detail, *faults])


def _check(name: CheckName, ask: Callable[[], tuple[bool, str]]) -> ReadinessCheck:
    try:
        ok, detail = ask()
    except tuple(KIND_OF_PORT_ERROR) as error:
        logger.warning("not ready: %s: %s", name, error)
        kind = next(
            kind for error_class, kind in KIND_OF_PORT_ERROR.items() if isinstance(error, error_class)
        )
        ok, detail = False, kind.title
    return ReadinessCheck(name=name, ok=ok, detail=detail)
