from typing import Any

import pytest

from tests.unit.service.conftest import LIMITS, World
from tests.unit.service.pictures import encoded

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
