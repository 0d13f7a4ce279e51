"""Nobody sends the gateway where only the gateway can go."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address, ip_network
from typing import Any

import httpx
import pytest

from service.outbound import AddressRefusedError, is_public, public_client

LOOPBACK = ip_network("127.0.0.1/32")


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.0.170",
        "192.0.2.1",
        "192.31.196.1",
        "192.52.193.1",
        "192.88.99.1",
        "192.168.1.1",
        "192.175.48.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::10.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:93.184.215.14",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:a00:1::",
        "2620:4f:8000::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_an_address_that_is_not_public_is_known(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "100.63.255.255",
        "100.128.0.1",
        "172.15.0.1",
        "172.32.0.1",
        "192.0.1.1",
        "223.255.255.1",
        "2606:4700::1111",
        "2a00:1450::1",
        "2001:4860::8888",
        "2003::1",
    ],
)
def test_an_address_that_is_public_is_known(address: str) -> None:
    assert is_public(ip_address(address))


class Server(BaseHTTPRequestHandler):
    """Redirects from /to/URL, and says who was meant."""

    def do_GET(self) -> None:
        target = self.path.removeprefix("/to/")
        self.send_response(302 if target != self.path else 200)
        if target != self.path:
            self.send_header("Location", target)
        self.end_headers()
        self.wfile.write(self.headers["Host"].encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def get(url: str, *, allow_loopback: bool = True) -> httpx.Response:
    async def ask() -> httpx.Response:
        allowed = [LOOPBACK] if allow_loopback else []
        async with public_client(allowed, timeout_s=5.0) as client:
            return await client.get(url, follow_redirects=True)

    return asyncio.run(ask())


@contextmanager
def answers(monkeypatch: pytest.MonkeyPatch, *by_turn: list[str]) -> Iterator[list[str]]:
    """A name server of the attacker's: another answer each time."""
    asked: list[str] = []
    genuine = socket.getaddrinfo

    def answer(name: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if name in ("127.0.0.1", "127.0.0.2"):
            return genuine(name, port, *args, **kwargs)
        asked.append(name)
        addresses = by_turn[min(len(asked), len(by_turn)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", answer)
        yield asked


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "localhost.",
        "127.1",
        "2130706433",
        "0x7f.1",
        "127。0。0。1",
        "0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
    ],
)
def test_this_machine_is_not_reached_however_it_is_written(port: int, host: str) -> None:
    with pytest.raises((AddressRefusedError, httpx.ConnectError)):
        get(f"http://{host}:{port}/", allow_loopback=False)


def test_an_operators_own_network_is_reached(port: int) -> None:
    assert get(f"http://127.0.0.1:{port}/").text == f"127.0.0.1:{port}"


@pytest.mark.parametrize(
    "url", ["ftp://example.org/", "file:///etc/passwd", "http://user:secret@127.0.0.1/", "gopher://x/"]
)
def test_a_url_that_is_none_of_ours_is_refused(url: str) -> None:
    with pytest.raises((AddressRefusedError, httpx.UnsupportedProtocol)):
        get(url)


def test_every_redirect_is_checked(port: int) -> None:
    elsewhere = f"http://127.0.0.2:{port}/"
    with pytest.raises(AddressRefusedError, match=r"127\.0\.0\.2 is not on the public internet"):
        get(f"http://127.0.0.1:{port}/to/{elsewhere}")
    assert get(f"http://127.0.0.1:{port}/to/http://127.0.0.1:{port}/there").url.path == "/there"
    assert get(f"http://127.0.0.1:{port}/to//there").url.path == "/there"  # relative to the name asked


def test_redirects_come_to_an_end(port: int) -> None:
    here = f"http://127.0.0.1:{port}"
    with pytest.raises(httpx.TooManyRedirects):
        get(f"{here}/to/" + f"{here}/to/" * 4 + f"{here}/there")


def test_the_address_that_was_checked_is_the_one_that_is_asked(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answers(monkeypatch, ["127.0.0.1"], ["10.0.0.1"]) as asked:
        assert get(f"http://rebind.example:{port}/").text == f"rebind.example:{port}"
        assert asked == ["rebind.example"], "asked again after the check"
        with pytest.raises(AddressRefusedError):
            get(f"http://rebind.example:{port}/")


def test_one_bad_address_among_good_ones_is_enough(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with answers(monkeypatch, ["127.0.0.1", "10.0.0.1"]), pytest.raises(AddressRefusedError):
        get(f"http://both.example:{port}/")


def test_a_redirect_to_a_name_that_leads_inside_is_refused(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answers(monkeypatch, ["127.0.0.1"], ["169.254.169.254"]), pytest.raises(AddressRefusedError):
        get(f"http://good.example:{port}/to/http://evil.example:{port}/latest/meta-data")


def test_a_certificate_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda _socket, name, _context: named.append(name)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def shake_hands() -> None:
            connection, _ = listener.accept()
            with connection, pytest.raises(ssl.SSLError):  # it has no certificate at all
                context.wrap_socket(connection, server_side=True)

        thread = threading.Thread(target=shake_hands)
        thread.start()
        with answers(monkeypatch, ["127.0.0.1"]), pytest.raises(httpx.ConnectError, match=r"shop\.example"):
            get(f"https://shop.example:{listener.getsockname()[1]}/")
        thread.join()
    assert named == ["shop.example"]


def test_a_name_that_nobody_knows_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(httpx.ConnectError, match=r"nowhere\.invalid cannot be resolved"):
        get("http://nowhere.invalid/")
