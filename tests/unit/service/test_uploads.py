import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.unit.service.conftest import LIMITS, World
from tests.unit.service.pictures import encoded
from tests.unit.service.slow_uploads import trickling

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("content_type", ["image/png", "multipart/form-data; boundary=b"])
async def test_a_client_that_goes_away_is_no_crash(world: World, content_type: str) -> None:
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"--b\r\n", "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/upscale",
        "raw_path": b"/upscale",
        "query_string": b"",
        "headers": [(b"content-type", content_type.encode())],
        "scheme": "http",
        "server": ("gateway.test", 80),
        "root_path": "",
        "http_version": "1.1",
    }
    await world.app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert world.queue.waiting() == 0


async def test_a_declared_length_above_the_limit_is_refused_unread(world: World) -> None:
    response = await world.client.post(
        "/upscale",
        content=encoded("PNG"),
        headers={"Content-Type": "image/png", "Content-Length": "99999999999"},
    )
    assert (response.status_code, response.json()["code"]) == (413, "upload_too_large")


async def test_the_limit_counts_the_picture_and_not_its_form(world: World) -> None:
    whole = encoded("PNG")
    for surplus, code in [(0, None), (1, "upload_too_large")]:
        padded = whole + bytes(LIMITS.max_upload_bytes - len(whole) + surplus)
        form = await world.post(picture=padded)
        raw = await world.client.post("/upscale", content=padded, headers={"Content-Type": "image/png"})
        assert form.json().get("code") == raw.json().get("code") == code


async def test_a_slow_upload_is_ended_and_a_young_one_is_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> AsyncIterator[bytes]:
        async for byte in trickling():
            yield byte
            if time.monotonic() - began_s > 0.2:
                return

    png = {"Content-Type": "image/png"}
    for slow_start_s, code in ((60.0, "unsupported_image"), (0.1, "upload_too_slow")):
        monkeypatch.setattr("service.uploads.SLOW_START_S", slow_start_s)
        began_s = time.monotonic()
        response = await world.client.post("/upscale", content=body(), headers=png)
        assert response.json()["code"] == code
    assert response.headers["connection"] == "close"


async def test_a_fast_upload_may_be_old(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.uploads.SLOW_START_S", 0.0)
    assert (await world.post(picture=encoded("PNG", 200, 200))).status_code == 202
