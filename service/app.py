"""The gateway's app. `create_app` builds it from the settings, `build_app` from its parts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI
from redis import Redis

from service.admission import Admission
from service.auth import ANYBODY, AuthMode, Gate, caller_of, log_who_may_call
from service.batch import Batches, batch_router
from service.courier import Courier
from service.errors import (
    API_KEY_INVALID,
    API_KEY_MISSING,
    INTERNAL_ERROR,
    QUEUE_UNAVAILABLE,
    TOO_MANY_REQUESTS,
)
from service.estimates import Estimates
from service.events import events_router
from service.group_store import GroupStore
from service.groups import Groups, groups_router
from service.health import health_router
from service.idempotency import IdempotencyKeys
from service.image_urls import ImageUrls
from service.intake import Intake
from service.job_list import job_list_router
from service.jobs import jobs_router
from service.keys import KeyStore
from service.limits import Limits
from service.metrics import GatewayMetrics, RequestCounter, metrics_router
from service.models import models_router
from service.prefer import WaitingRoom
from service.problems import MEDIA_TYPE, install_problem_handlers, problem_responses
from service.quotas import Quotas, RateLimitHeaders
from service.reference import ASSETS_PATH, assets, reference_router
from service.repeats import Repeats
from service.schemas import Problem
from service.security_headers import SecurityHeaders
from service.settings import ServerSettings, Settings
from service.upscale import upscale_router
from service.webhooks import NO_WEBHOOKS, Webhooks, webhook_documentation
from sr_models.manifest import CheckpointFolder
from worker.contract.blobs import BlobStore
from worker.contract.fleet import Fleet, RqFleet
from worker.contract.queue import JobQueue

REDIS_TIMEOUT_S = 5.0
"""Longer than any command of ours takes; a client should hear of a dead Redis before it gives up."""
DESCRIPTION = """
Send a picture, get it back 2, 3 or 4 times as large.

`POST /upscale` answers with a job; poll the job until it has ended; fetch its result.
Every error is `application/problem+json` (RFC 9457) with a stable `code`.
"""
TAGS = [
    {"name": "jobs", "description": "Pictures to enlarge, from upload to result."},
    {"name": "groups", "description": "Many pictures in one request."},
    {"name": "models", "description": "What enlarges them."},
    {"name": "health", "description": "For whoever runs the service."},
]


REFUSALS = (API_KEY_MISSING, API_KEY_INVALID, TOO_MANY_REQUESTS, QUEUE_UNAVAILABLE)
"""What a route may answer because it asks who calls."""


class Gateway(FastAPI):
    """FastAPI, with the problem object and what the gate may say in the OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI 3.1 document."""
        if self.openapi_schema is not None:
            return self.openapi_schema
        document = super().openapi()
        # FastAPI would put a response's model under application/json.
        schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        document["components"]["schemas"] |= {**schema.pop("$defs"), "Problem": schema}
        for path in document["paths"].values():
            for operation in path.values():
                if "security" in operation:
                    self._document_gate(operation)
        return document

    def _document_gate(self, operation: dict[str, Any]) -> None:
        gate: Gate = self.state.gate
        if not gate.always_asks:
            operation["security"].append({})
        for status, response in problem_responses(*REFUSALS).items():
            documented = operation["responses"].setdefault(str(status), response)
            documented["content"][MEDIA_TYPE]["examples"] |= response["content"][MEDIA_TYPE]["examples"]


def create_app() -> FastAPI:
    """The gateway as the environment's settings have it."""
    settings = Settings()
    redis = Redis.from_url(
        settings.redis_url, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S
    )
    host = ServerSettings().host
    log_who_may_call(settings.auth, host)
    queue = JobQueue(redis, job_timeout_s=settings.job_timeout_s, retention_s=settings.retention_s)
    blobs = BlobStore.from_url(settings.blobs_url)
    return build_app(
        queue,
        blobs,
        RqFleet(redis),
        CheckpointFolder(settings.checkpoints),
        settings.limits,
        KeyStore(redis),
        Quotas(redis, queue, settings.allowance),
        settings.auth.on(host),
        IdempotencyKeys(redis, queue),
        Repeats(redis, queue, blobs),
        GroupStore(redis, retention_s=settings.retention_s),
        Webhooks(settings.webhook_secret, settings.webhook_allow),
        ImageUrls(enabled=settings.image_urls, allowed=settings.image_urls_allow),
        presigned_results=settings.presigned_results,
    )


def build_app(
    queue: JobQueue,
    blobs: BlobStore,
    fleet: Fleet,
    checkpoints: CheckpointFolder,
    limits: Limits,
    keys: KeyStore,
    quotas: Quotas,
    auth: AuthMode,
    idempotency: IdempotencyKeys,
    repeats: Repeats,
    group_store: GroupStore,
    webhooks: Webhooks = NO_WEBHOOKS,
    image_urls: ImageUrls | None = None,
    *,
    presigned_results: bool = False,
) -> FastAPI:
    """The gateway on the given parts; `auth` as it is on the address that it listens on."""
    metrics = GatewayMetrics(queue, fleet)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        courier = Courier(queue, webhooks, metrics.note_delivery)
        async with courier.running() if webhooks.secrets else nullcontext():
            yield

    internal_error = {"$ref": "#/components/schemas/Problem"}
    app = Gateway(
        title="Enlarger",
        version=version("enlarger"),
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_tags=TAGS,
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own page loads its script from another host
        redoc_url=None,
        # Also keeps FastAPI from documenting its own form of a 422 for every route.
        responses={
            "default": {
                "description": INTERNAL_ERROR.title,
                "content": {MEDIA_TYPE: {"schema": internal_error}},
            }
        },
    )
    app.state.gate = Gate(keys, auth, quotas.count_request, counted=quotas.limited(ANYBODY))
    install_problem_handlers(app)
    intake = Intake(queue, blobs, checkpoints, limits, quotas, webhooks, idempotency, repeats)
    estimates = Estimates(queue, fleet)
    admission = Admission(queue, quotas, idempotency, estimates, limits)
    app.include_router(
        upscale_router(admission, intake, WaitingRoom(queue), estimates, image_urls or ImageUrls(), limits)
    )
    groups = Groups(queue, blobs, group_store)
    batches = Batches(admission, intake, group_store, limits)
    app.include_router(batch_router(admission, batches, groups, limits))
    app.include_router(groups_router(groups, blobs))
    app.include_router(job_list_router(queue))
    app.include_router(jobs_router(queue, blobs, estimates, presigned_results=presigned_results))
    app.include_router(events_router(queue, estimates))
    app.include_router(models_router(checkpoints), dependencies=[Depends(caller_of)])
    app.include_router(health_router(queue, blobs, fleet, checkpoints))
    app.include_router(metrics_router(metrics))
    app.add_middleware(RateLimitHeaders, quotas=quotas)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestCounter, metrics=metrics)
    app.include_router(reference_router())
    app.mount(ASSETS_PATH, assets())
    app.webhooks.include_router(webhook_documentation())
    return app
