import re

import pytest

from tests.unit.service.conftest import World

pytestmark = pytest.mark.anyio


async def test_the_page_needs_no_other_host(world: World) -> None:
    page = await world.client.get("/docs")
    assert page.status_code == 200
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(sources) == 3
    for source in sources:
        assert source.startswith("/docs/assets/")
        assert (await world.client.get(source)).status_code == 200
    assert "url: '/openapi.json'" in page.text
    assert "http:" not in page.text
    assert "https:" not in page.text


@pytest.mark.parametrize(
    "path", ["/docs/assets/", "/docs/assets/none.js", "/docs/assets/%2e%2e/%2e%2e/etc/passwd"]
)
async def test_nothing_else_is_there(world: World, path: str) -> None:
    response = await world.client.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
