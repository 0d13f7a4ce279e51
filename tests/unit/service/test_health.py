import shutil

import pytest

from tests.unit.service.conftest import World

pytestmark = pytest.mark.anyio


async def test_the_process_is_healthy_whatever_is_down(world: World) -> None:
    world.fleet.names = ()
    response = await world.client.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_ready_when_everything_is_there(world: World) -> None:
    response = await world.client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {
        "status": "ready",
        "checks": [
            {"name": "queue", "ok": True, "detail": "answers"},
            {"name": "storage", "ok": True, "detail": "answers"},
            {"name": "workers", "ok": True, "detail": "1 live worker"},
            {"name": "models", "ok": True, "detail": "7 published checkpoints"},
        ],
    }


async def test_ready_though_a_version_cannot_be_loaded(world: World) -> None:
    world.fleet.names = ("one", "two")
    world.fleet.faults = ("espcn-x2@2 is damaged; espcn-x2@1 is served instead",)
    response = await world.client.get("/readyz")
    assert response.status_code == 200
    assert response.json()["checks"][2] == {
        "name": "workers",
        "ok": True,
        "detail": "2 live workers; espcn-x2@2 is damaged; espcn-x2@1 is served instead",
    }


async def test_not_ready_without_a_worker(world: World) -> None:
    world.fleet.names = ()
    response = await world.client.get("/readyz")
    assert (response.status_code, response.json()["code"]) == (503, "not_ready")
    assert response.json()["detail"] == "workers: no live workers"
    assert [check["name"] for check in response.json()["checks"] if not check["ok"]] == ["workers"]


async def test_not_ready_without_models(world: World) -> None:
    manifest = next(world.checkpoints.glob("*/*/manifest.json"))
    manifest.write_text("{")
    response = await world.client.get("/readyz")
    assert response.json()["detail"] == "models: The models cannot be read"
    shutil.rmtree(world.checkpoints)
    response = await world.client.get("/readyz")
    assert response.json()["detail"] == "models: no published checkpoints"
