"""Pictures that a caller names by URL: fetched from where they may be, from nowhere else, and never more than an upload."""

import asyncio
import contextlib
import gzip
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from typing import Any, ClassVar

import httpx
import pytest

import service.image_urls
from service.image_urls import ImageUrls
from tests.unit.service.conftest import LIMITS, World, client_with
from tests.unit.service.pictures import encoded

pytestmark = pytest.mark.anyio

PICTURE = encoded("JPEG")
LOOPBACK = ip_network("127.0.0.1/32")


class Site(BaseHTTPRequestHandler):
    """What is behind URLs, good and bad."""

    asked: ClassVar[list[dict[str, str]]] = []

    def do_GET(self) -> None:
        self.asked.append(dict(self.headers))
        path = self.path.partition("?")[0]
        if path.startswith("/to/"):
            self._answer(302, b"", Location=self.path.removeprefix("/to/"))
        elif path == "/circle":
            self._answer(302, b"", Location="/circle")
        elif path == "/page.jpg":
            self._answer(200, b"<html>not a picture</html>")
        elif path == "/squeezed.jpg":
            self._answer(200, gzip.compress(bytes(10_000_000)), **{"Content-Encoding": "gzip"})
        elif path == "/endless.jpg":
            self._answer(200, PICTURE)
            while True:
                self.wfile.write(bytes(65_536))
        elif path == "/cut.jpg":
            self._answer(200, PICTURE[:-50], **{"Content-Length": str(len(PICTURE))})
        elif path == "/still.jpg":
            self._answer(200, PICTURE[:100], **{"Content-Length": str(len(PICTURE))})
            time.sleep(2)
        elif path == "/trickle.jpg":
            self._answer(200, b"", **{"Content-Length": "100000"})
            for _ in range(40):
                self.wfile.write(b"x")
                time.sleep(0.05)
        elif path.startswith("/none"):
            self._answer(404, PICTURE)
        else:
            self._answer(200, PICTURE, **{"Content-Length": str(len(PICTURE))})

    def _answer(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Set-Cookie": "a=b", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the gateway has had enough
            super().handle()


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    limits = replace(LIMITS, upload_idle_timeout_s=0.3)
    urls = ImageUrls(enabled=True, allowed=[LOOPBACK])
    async with client_with(world, limits=limits, image_urls=urls) as client:
        yield client


async def refused(client: httpx.AsyncClient, url: str, **options: Any) -> tuple[int, str, str]:
    response = await client.post("/upscale", json={"image_url": url, **options})
    problem = response.json()
    return response.status_code, problem["code"], problem["detail"]


async def test_the_picture_behind_a_url_becomes_a_job(
    world: World, client: httpx.AsyncClient, site: str
) -> None:
    body = {
        "image_url": f"{site}/to/{site}/a%20photo.jpg?size=9",
        "scale": 3,
        "model": "espcn",
        "ensemble": True,
    }
    response = await client.post("/upscale", json={**body, "quality": None, "webhook_url": ""})
    assert response.status_code == 202, response.text
    job = response.json()
    assert (job["scale"], job["ensemble"], job["format"], job["input"]["filename"]) == (
        3,
        True,
        "jpeg",
        "a photo.jpg",
    )
    assert world.blobs.get(f"jobs/{job['id']}/input") == PICTURE


async def test_the_other_host_learns_nothing_of_the_caller(
    world: World, client: httpx.AsyncClient, site: str
) -> None:
    Site.asked.clear()
    headers = {"Cookie": "secret=1", **world.key()}
    await client.post("/upscale", json={"image_url": f"{site}/to/{site}/a.jpg"}, headers=headers)
    assert len(Site.asked) == 2
    for asked in Site.asked:
        assert {name.lower() for name in asked} == {"host", "user-agent", "accept", "accept-encoding"}
        assert asked["User-Agent"].startswith("Enlarger/")


async def test_it_is_off_unless_configured(world: World, site: str) -> None:
    Site.asked.clear()
    assert (await refused(world.client, f"{site}/a.jpg"))[:2] == (400, "image_urls_off")
    assert Site.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/a.jpg",
        "file:///etc/passwd",
        "/etc/passwd",
        "https://",
        "http://user:secret@example.org/",
        "http://[::1",
    ],
)
async def test_what_is_no_url_of_a_picture_is_refused(client: httpx.AsyncClient, url: str) -> None:
    assert (await refused(client, url))[:2] == (400, "image_url_refused")


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1", "100.64.0.1", "127.0.0.2", "169.254.169.254", "172.16.0.1", "192.0.0.8", "192.0.2.1",
        "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1",
        "255.255.255.255", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[64:ff9b::a00:1]", "[2001:db8::1]",
        "[2002:a00:1::]", "[fc00::1]", "[fe80::1]", "[ff02::1]", "localhost", "2130706434", "0x7f000002", "nobody.invalid",
    ],
)  # fmt: skip
async def test_where_nobody_may_be_sent_is_as_if_it_were_not_there(
    client: httpx.AsyncClient, site: str, host: str
) -> None:
    if host == "localhost":
        host = "localhost.localdomain"
    told = await refused(client, f"http://{host}/a.jpg")
    assert told == (424, "image_url_failed", "Its host cannot be reached from here.")
    assert await refused(client, f"{site}/to/http://{host}/a.jpg") == told


async def test_a_name_whose_answer_changes_gains_nothing(
    client: httpx.AsyncClient, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: what is connected to is what was checked, and it is asked once."""
    answers = iter(["127.0.0.1", "10.0.0.1"])
    asked = []

    async def resolve(name: str, port: int, **options: Any) -> list[Any]:
        asked.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    port = site.rpartition(":")[2]
    response = await client.post("/upscale", json={"image_url": f"http://rebinding.test:{port}/a.jpg"})
    assert response.status_code == 202
    assert asked == ["rebinding.test"]
    assert (await refused(client, f"http://rebinding.test:{port}/a.jpg"))[0] == 424


@pytest.mark.parametrize(
    ("path", "status", "code", "words"),
    [
        ("none.jpg", 424, "image_url_failed", "answers 404"),
        ("circle", 424, "image_url_failed", "more than 3 times"),
        ("to/http://[", 424, "image_url_failed", "cannot be reached"),
        ("to/ftp://example.org/", 424, "image_url_failed", "cannot be reached"),
        ("page.jpg", 415, "unsupported_image", ""),
        ("squeezed.jpg", 424, "image_url_failed", "compressed"),
        ("endless.jpg", 413, "upload_too_large", "300000 bytes"),
        ("cut.jpg", 424, "image_url_failed", "broke"),
        ("still.jpg", 424, "image_url_failed", "does not answer"),
    ],
)
async def test_what_does_not_come_is_said(
    world: World, client: httpx.AsyncClient, site: str, path: str, status: int, code: str, words: str
) -> None:
    told = await refused(client, f"{site}/{path}")
    assert told[:2] == (status, code)
    assert words in told[2]
    assert world.queue.waiting() == 0
    assert world.blobs.keys("jobs/") == []


async def test_a_byte_now_and_then_does_not_keep_it_alive(
    client: httpx.AsyncClient, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.image_urls, "DEADLINE_S", 0.5)
    told = await refused(client, f"{site}/trickle.jpg")
    assert told[:2] == (424, "image_url_failed")
    assert "longer than" in told[2]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "malformed_body"),
        (b"{", "malformed_body"),
        (b"[1]", "malformed_body"),
        (b"[" * 60_000, "malformed_body"),
        (b"\xff\xfe", "malformed_body"),
        (b"{}", "invalid_request"),
        (b'{"image_url": 7}', "invalid_request"),
        (b'{"image_url": "http://example.org/", "scael": 2}', "image_url_failed"),
        (b'{"image_url": "http://' + b"a" * 3000 + b'"}', "invalid_request"),
        (b" " * 70_000, "upload_too_large"),
    ],
)
async def test_a_body_that_is_no_request(world: World, body: bytes, code: str) -> None:
    async with client_with(world, image_urls=ImageUrls(enabled=True)) as client:
        response = await client.post("/upscale", content=body, headers={"Content-Type": "application/json"})
    assert response.json()["code"] == code


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"scael": 2}, "scael"),
        ({"scale": 9}, "scale"),
        ({"scale": [2]}, "scale"),
        ({"model": "\ud800" * 200}, "model"),
        ({"sharpen": 1e999}, "sharpen"),
    ],
)
async def test_options_that_are_wrong_are_said_in_the_same_words(
    client: httpx.AsyncClient, site: str, options: dict[str, Any], field: str
) -> None:
    response = await client.post(
        "/upscale",
        content=json.dumps({"image_url": f"{site}/a.jpg", **options}),
        headers={"Content-Type": "application/json"},
    )
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == field


async def test_an_option_counts_once(client: httpx.AsyncClient, site: str) -> None:
    response = await client.post("/upscale?scale=2", json={"image_url": f"{site}/a.jpg", "scale": 2})
    assert response.json()["errors"] == [{"field": "scale", "message": "Given more than once"}]
    response = await client.post("/upscale?scale=2", json={"image_url": f"{site}/a.jpg"})
    assert response.json()["scale"] == 2
