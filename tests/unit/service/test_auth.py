import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.auth import AuthMode, Gate, is_loopback, log_who_may_call
from service.keys import KeyStore
from service.settings import Settings
from tests.samples import sample_result
from tests.unit.service.conftest import World
from tests.unit.service.pictures import encoded
from worker.settings import WorkerSettings

pytestmark = pytest.mark.anyio

OPEN_PATHS = ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json")


def ask_always(world: World) -> None:
    world.app.state.gate = Gate(KeyStore(world.redis), AuthMode.REQUIRED, lambda _: None)


def bearer(key: dict[str, str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {key['X-API-Key']}"}


async def test_a_loopback_address_is_open_until_there_is_a_key(world: World) -> None:
    job_id = await world.accepted()
    key = world.key()
    response = await world.post()
    assert (response.status_code, response.json()["code"]) == (401, "api_key_missing")
    assert response.headers["www-authenticate"] == "Bearer"
    assert "enlarger keys create" in response.json()["detail"]
    assert (await world.client.get("/models", headers=key)).status_code == 200
    assert (await world.client.get(f"/jobs/{job_id}", headers=key)).status_code == 404


async def test_where_keys_are_required_none_opens_but_what_programs_watch(world: World) -> None:
    ask_always(world)
    for method, path in (
        ("GET", "/models"),
        ("POST", "/upscale"),
        ("GET", "/jobs/a"),
        ("GET", "/jobs/a/result"),
        ("DELETE", "/jobs/a"),
    ):
        response = await world.client.request(method, path)
        assert (response.status_code, response.json()["code"]) == (401, "api_key_missing"), path
    world.fleet.names = ("a worker",)
    for path in OPEN_PATHS:
        assert (await world.client.get(path)).status_code == 200, path


@pytest.mark.parametrize("mode", [AuthMode.AUTO, AuthMode.REQUIRED])
async def test_a_key_goes_in_either_header(world: World, mode: AuthMode) -> None:
    world.app.state.gate = Gate(KeyStore(world.redis), mode, lambda _: None)
    key = world.key()
    lower = {"authorization": f"bearer {key['X-API-Key']}"}
    proxys = {**key, "Authorization": "Bearer of-a-proxy"}
    for headers in (key, bearer(key), lower, proxys):
        assert (await world.client.get("/models", headers=headers)).status_code == 200, headers


@pytest.mark.parametrize("sent", ["enl_", "Basic", "hello", "enl_" + "0" * 16 + "_" + "A" * 43])
async def test_a_wrong_key_is_refused_even_where_none_is_needed(world: World, sent: str) -> None:
    for headers in ({"X-API-Key": sent}, {"Authorization": f"Bearer {sent}"}):
        response = await world.client.get("/models", headers=headers)
        assert (response.status_code, response.json()["code"]) == (401, "api_key_invalid")
        assert response.headers["www-authenticate"] == "Bearer"
        assert sent not in response.text or sent in "enl_"


async def test_what_is_not_a_key_is_none(world: World) -> None:
    world.key()
    for headers in (
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": "Bearer "},
        {"Authorization": "enl_a_b"},
        {"X-API-Key": ""},
    ):
        response = await world.client.get("/models", headers=headers)
        assert (response.status_code, response.json()["code"]) == (401, "api_key_missing")


async def test_nobody_is_asked_where_another_program_asks(world: World) -> None:
    world.app.state.gate = Gate(KeyStore(world.redis), AuthMode.NONE, lambda _: None)
    key = world.key()
    job_id = await world.accepted()
    for headers in ({}, key, {"Authorization": "Bearer of-a-proxy"}):
        assert (await world.client.get(f"/jobs/{job_id}", headers=headers)).status_code == 200


async def test_a_revoked_key_stops_at_once(world: World) -> None:
    world.key("somebody else's")
    key = world.key()
    assert (await world.client.get("/models", headers=key)).status_code == 200
    KeyStore(world.redis).revoke(key["X-API-Key"].split("_")[1])
    response = await world.client.get("/models", headers=key)
    assert (response.status_code, response.json()["code"]) == (401, "api_key_invalid")


async def test_callers_meet_only_their_own_jobs(world: World) -> None:
    mine, theirs = world.key("mine"), world.key("theirs")
    picture = {"image": ("photo.png", encoded("PNG"))}
    response = await world.client.post("/upscale", files=picture, headers=mine)
    job = response.json()["links"]["self"]
    job_id = response.json()["id"]
    world.worker.start(job_id)
    world.blobs.put(f"jobs/{job_id}/result", b"larger")
    world.worker.succeed(job_id, sample_result())
    for method, path in (("GET", job), ("GET", f"{job}/result"), ("DELETE", job)):
        response = await world.client.request(method, path, headers=theirs)
        assert (response.status_code, response.json()["code"]) == (404, "job_not_found"), path
    owners = {key["X-API-Key"].split("_")[1]: key for key in (mine, theirs)}
    listed = {owner: [r.job.id for _, r in world.queue.jobs_of(owner)] for owner in owners}
    assert list(listed.values()) == [[job_id], []]
    assert (await world.client.get(f"{job}/result", headers=mine)).content == b"larger"
    assert (await world.client.delete(job, headers=mine)).status_code == 204


async def test_the_key_is_asked_for_before_the_body_is_read(world: World) -> None:
    world.key()
    asked = False

    async def body() -> AsyncIterator[bytes]:
        nonlocal asked
        asked = True
        yield b"x"

    response = await world.client.post("/upscale", content=body(), headers={"Content-Type": "image/png"})
    assert response.status_code == 401
    assert not asked


async def test_a_request_asks_redis_once(world: World) -> None:
    key = world.key()
    for headers, wanted in ((key, "hget"), ({}, "hlen")):
        before = world.redis.info("commandstats")
        await world.client.get("/models", headers=headers)
        after = world.redis.info("commandstats")
        calls = {
            name.removeprefix("cmdstat_"): stats["calls"] - before.get(name, {"calls": 0})["calls"]
            for name, stats in after.items()
        }
        assert {name for name, count in calls.items() if count} == {wanted, "info"}
        assert calls[wanted] == 1


async def test_no_key_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    key = world.key()
    with caplog.at_level(logging.DEBUG):
        await world.client.get("/models", headers=key)
        await world.client.get("/models", headers={"X-API-Key": key["X-API-Key"][:-1]})
    assert key["X-API-Key"].split("_", 2)[2][:-1] not in caplog.text


async def document(app: FastAPI) -> dict[str, Any]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://gateway.test"
    ) as client:
        return dict((await client.get("/openapi.json")).json())


async def test_the_document_says_how_a_key_is_sent(world: World) -> None:
    found = await document(world.app)
    schemes = found["components"]["securitySchemes"]
    assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")
    assert (schemes["header"]["in"], schemes["header"]["name"]) == ("header", "X-API-Key")
    for path, operations in found["paths"].items():
        for operation in operations.values():
            if path in OPEN_PATHS:
                assert "security" not in operation
            else:
                assert operation["security"] == [{"bearer": []}, {"header": []}, {}]
                assert {"401", "429", "503"} <= set(operation["responses"])
    assert await document(world.app) == found


async def test_the_document_says_where_a_key_is_always_needed(
    monkeypatch: pytest.MonkeyPatch, valkey_url: str
) -> None:
    monkeypatch.setenv("ENLARGER_REDIS_URL", valkey_url)
    monkeypatch.setenv("ENLARGER_BLOBS_URL", "memory:///")
    monkeypatch.setenv("ENLARGER_HOST", "0.0.0.0")
    found = await document(create_app())
    assert found["paths"]["/models"]["get"]["security"] == [{"bearer": []}, {"header": []}]


@pytest.mark.parametrize(
    ("mode", "host", "status"),
    [
        ("auto", "127.0.0.1", 200),
        ("auto", "0.0.0.0", 401),
        ("required", "127.0.0.1", 401),
        ("none", "0.0.0.0", 200),
    ],
)
async def test_the_address_decides(
    monkeypatch: pytest.MonkeyPatch, valkey_url: str, mode: str, host: str, status: int
) -> None:
    monkeypatch.setenv("ENLARGER_REDIS_URL", valkey_url)
    monkeypatch.setenv("ENLARGER_BLOBS_URL", "memory:///")
    monkeypatch.setenv("ENLARGER_HOST", host)
    monkeypatch.setenv("ENLARGER_AUTH", mode)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app()), base_url="http://gateway.test"
    ) as client:
        assert (await client.get("/models")).status_code == status


def test_only_this_machines_own_addresses_are_loopback() -> None:
    hosts = ("127.0.0.1", "127.9.9.9", "::1", "localhost", "", "0.0.0.0", "::", "10.0.0.1", "localhost.evil")
    assert [host for host in hosts if is_loopback(host)] == ["127.0.0.1", "127.9.9.9", "::1", "localhost"]


def test_the_start_says_who_may_call(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        log_who_may_call(AuthMode.AUTO, "127.0.0.1")
        log_who_may_call(AuthMode.NONE, "127.0.0.1")
        assert caplog.records == []
        log_who_may_call(AuthMode.AUTO, "0.0.0.0")
        log_who_may_call(AuthMode.NONE, "0.0.0.0")
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
    assert "enlarger keys create" in caplog.records[0].getMessage()


def test_settings_do_not_show_the_password_of_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENLARGER_REDIS_URL", "redis://:hunter2@redis:6379/0")
    for settings in (Settings(), WorkerSettings()):
        assert "hunter2" in settings.redis_url
        assert "hunter2" not in repr(settings) + str(settings)
