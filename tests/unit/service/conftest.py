from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from redis import Redis

from service.app import build_app
from service.auth import AuthMode
from service.group_store import GroupStore
from service.idempotency import IdempotencyKeys
from service.image_urls import ImageUrls
from service.keys import KeyStore
from service.limits import NO_LIMITS, Allowance, Limits
from service.quotas import Quotas
from service.repeats import Repeats
from service.webhooks import NO_WEBHOOKS, Webhooks
from sr_models.aliases import ALIASES_FILE
from sr_models.manifest import CheckpointFolder, Manifest, Score
from tests.hand_cranked_worker import HandCrankedWorker
from tests.samples import SettableFleet
from tests.unit.service.pictures import encoded
from worker.contract.blobs import BlobStore
from worker.contract.queue import JobQueue

LIMITS = Limits(
    max_upload_bytes=300_000,
    max_input_pixels=1_000_000,
    max_output_pixels=6_000_000,
    max_queued_jobs=3,
    max_uploads=16,
    upload_idle_timeout_s=0.3,
)


@dataclass
class World:
    """A gateway on a real queue, a worker that does as it is told, and a client."""

    redis: Redis
    queue: JobQueue
    worker: HandCrankedWorker
    blobs: BlobStore
    fleet: SettableFleet
    checkpoints: Path
    app: FastAPI
    client: httpx.AsyncClient

    async def post(
        self,
        options: Mapping[str, str] | None = None,
        picture: bytes | None = None,
        filename: str = "photo.png",
    ) -> httpx.Response:
        content = encoded("PNG") if picture is None else picture
        return await self.client.post("/upscale", files={"image": (filename, content)}, data=options)

    def key(self, name: str = "a test", allowance: Allowance = NO_LIMITS) -> dict[str, str]:
        """The header that sends a new API key. From the first one on, every request needs one."""
        return {"X-API-Key": KeyStore(self.redis).create(name, allowance)}

    async def accepted(self, options: Mapping[str, str] | None = None) -> str:
        """The id of a job that was just accepted."""
        response = await self.post(options)
        assert response.status_code == 202, response.text
        return str(response.json()["id"])


def publish(
    folder: Path,
    family: str,
    scale: int,
    version: int = 1,
    psnr_db: float = 30.0,
    weights_sha256: str = "ab" * 32,
) -> None:
    """Put a manifest (the gateway reads no weights) into a checkpoint folder."""
    manifest = Manifest(
        family=family,
        scale=scale,
        version=version,
        architecture=family,
        hyperparameters={},
        colour="luma",
        weights_sha256=weights_sha256,
        weights_bytes=100_000,
        receptive_radius_px=4,
        halo_px=4,
        parameters=24_000,
        licence="Apache-2.0",
        scores=(Score("Set5", psnr_db, 0.87, "luma, MATLAB bicubic, border of scale"),),
    )
    path = folder / manifest.name / str(version)
    path.mkdir(parents=True)
    (path / "manifest.json").write_text(manifest.to_json())


def client_with(
    world: World,
    webhooks: Webhooks = NO_WEBHOOKS,
    limits: Limits = LIMITS,
    image_urls: ImageUrls | None = None,
    *,
    presigned_results: bool = False,
) -> httpx.AsyncClient:
    """A client of another gateway on the world's parts."""
    app = build_app(
        world.queue,
        world.blobs,
        world.fleet,
        CheckpointFolder(world.checkpoints),
        limits,
        KeyStore(world.redis),
        Quotas(world.redis, world.queue),
        AuthMode.AUTO,
        IdempotencyKeys(world.redis, world.queue),
        Repeats(world.redis, world.queue, world.blobs),
        GroupStore(world.redis, retention_s=600),
        webhooks,
        image_urls,
        presigned_results=presigned_results,
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway.test")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def world(tmp_path: Path, valkey: Redis) -> AsyncIterator[World]:
    for scale in (2, 3, 4):
        publish(tmp_path, "espcn", scale, psnr_db=30.5)
        publish(tmp_path, "bicubic", scale, psnr_db=28.4)
    publish(tmp_path, "espcn", 4, version=2, psnr_db=30.6)
    publish(tmp_path, "srgan", 4, psnr_db=29.0)
    (tmp_path / ALIASES_FILE).write_text('{"espcn-x4": {"production": 1}}')
    queue = JobQueue(valkey, job_timeout_s=60, retention_s=600)
    blobs, fleet, worker = BlobStore.from_url("memory:///"), SettableFleet(), HandCrankedWorker(valkey)
    app = build_app(
        queue,
        blobs,
        fleet,
        CheckpointFolder(tmp_path),
        LIMITS,
        KeyStore(valkey),
        Quotas(valkey, queue),
        AuthMode.AUTO,
        IdempotencyKeys(valkey, queue),
        Repeats(valkey, queue, blobs),
        GroupStore(valkey, retention_s=600),
    )
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://gateway.test"
    ) as client:
        yield World(valkey, queue, worker, blobs, fleet, tmp_path, app, client)
    worker.close()
