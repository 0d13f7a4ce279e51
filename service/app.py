"""The gateway's app. `create_app` builds it from the settings, `build_app` from its parts."""

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from redis import Redis

from service.errors import INTERNAL_ERROR
from service.health import health_router
from service.jobs import jobs_router
from service.limits import Limits
from service.models import models_router
from service.problems import MEDIA_TYPE, install_problem_handlers
from service.reference import ASSETS_PATH, assets, reference_router
from service.schemas import Problem
from service.settings import Settings
from service.upscale import Intake, upscale_router
from sr_models.manifest import CheckpointFolder
from worker.contract.blobs import BlobStore
from worker.contract.fleet import Fleet, RqFleet
from worker.contract.queue import JobQueue, RqJobQueue

REDIS_TIMEOUT_S = 5.0
"""Longer than any command of ours takes; a client should hear of a dead Redis before it gives up."""
DESCRIPTION = """
Send a picture, get it back 2, 3 or 4 times as large.

`POST /upscale` answers with a job; poll the job until it has ended; fetch its result.
Every error is `application/problem+json` (RFC 9457) with a stable `code`.
"""
TAGS = [
    {"name": "jobs", "description": "Pictures to enlarge, from upload to result."},
    {"name": "models", "description": "What enlarges them."},
    {"name": "health", "description": "For whoever runs the service."},
]


class Gateway(FastAPI):
    """FastAPI, with the problem object in the OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI 3.1 document."""
        document = super().openapi()
        # FastAPI would put a response's model under application/json.
        schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        document["components"]["schemas"] |= {**schema.pop("$defs"), "Problem": schema}
        return document


def create_app() -> FastAPI:
    """The gateway as the environment's settings have it."""
    settings = Settings()
    redis = Redis.from_url(
        settings.redis_url, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S
    )
    return build_app(
        RqJobQueue(redis, job_timeout_s=settings.job_timeout_s, retention_s=settings.retention_s),
        BlobStore.from_url(settings.blobs_url),
        RqFleet(redis),
        CheckpointFolder(settings.checkpoints),
        settings.limits,
    )


def build_app(
    queue: JobQueue, blobs: BlobStore, fleet: Fleet, checkpoints: CheckpointFolder, limits: Limits
) -> FastAPI:
    """The gateway on the given parts."""
    internal_error = {"$ref": "#/components/schemas/Problem"}
    app = Gateway(
        title="Enlarger",
        version=version("enlarger"),
        description=DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_tags=TAGS,
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
    install_problem_handlers(app)
    app.include_router(upscale_router(Intake(queue, blobs, checkpoints, limits), limits))
    app.include_router(jobs_router(queue, blobs))
    app.include_router(models_router(checkpoints))
    app.include_router(health_router(queue, blobs, fleet, checkpoints))
    app.include_router(reference_router())
    app.mount(ASSETS_PATH, assets())
    return app
