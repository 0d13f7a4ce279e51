import re

import pytest

from tests.unit.service.conftest import World

pytestmark = pytest.mark.anyio


async def test_the_page_needs_no_other_host(world: World) -> None:
    page = await world.client.get("/docs")
    assert page.status_code == 200
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(sources) == 4
    for source in sources:
        assert source.startswith("/docs/")
        assert (await world.client.get(source)).status_code == 200
    assert '"url": "/openapi.json"' in (await world.client.get("/docs/start.js")).text
    assert "http:" not in page.text
    assert "https:" not in page.text


@pytest.mark.parametrize(
    "path", ["/docs/assets/", "/docs/assets/none.js", "/docs/assets/%2e%2e/%2e%2e/etc/passwd"]
)
async def test_nothing_else_is_there(world: World, path: str) -> None:
    response = await world.client.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


async def test_no_script_stands_in_the_page_itself(world: World) -> None:
    page = await world.client.get("/docs")
    assert "script-src 'self';" in page.headers["content-security-policy"]
    assert re.findall(r"<script(?! src=)|\son[a-z]+=|javascript:", page.text) == []


@pytest.mark.parametrize("path", ["/docs", "/models", "/nothing", "/healthz", "/docs/assets/swagger-ui.css"])
async def test_every_answer_says_what_a_browser_must_not_do(world: World, path: str) -> None:
    headers = (await world.client.get(path)).headers
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    if path != "/docs":
        assert headers["content-security-policy"].startswith("default-src 'none';")
