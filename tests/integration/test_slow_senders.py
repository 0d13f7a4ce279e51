"""A gateway process beside hundreds of uploads that do not come to an end."""

import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.chaos.gateway_process import running_gateway
from tests.eventually import eventually
from tests.stack import RunningStack
from tests.unit.service.pictures import encoded

SENDERS = 200
LARGE_SENDERS = 20
LARGE_BYTES = 2 << 20
"""More than what is held in memory while it is received."""
IDLE_TIMEOUT_S = 5.0
TRICKLE_S = 0.5
REQUESTS = 20
TRIES = 3
SLOWER_S = 0.1
"""By how much the median of a request may grow."""


@pytest.fixture
def gateway(tmp_path: Path, valkey_url: str) -> Iterator[RunningStack]:
    """A gateway whose temporary files lie in `tmp_path / "spool"`."""
    (tmp_path / "spool").mkdir()
    environment = {
        "TMPDIR": str(tmp_path / "spool"),
        "ENLARGER_UPLOAD_IDLE_TIMEOUT_S": str(IDLE_TIMEOUT_S),
        "ENLARGER_MIN_UPLOAD_BYTES_PER_S": "1",
    }
    blobs_url = (tmp_path / "blobs").as_uri()
    with running_gateway(valkey_url, blobs_url, tmp_path / "log", environment) as gateway:
        yield gateway


class SlowSenders:
    """Uploads that have begun, and bring a byte now and then until they are told to fall silent."""

    def __init__(self, port: int, sockets: ExitStack) -> None:
        head = b"POST /upscale HTTP/1.1\r\nHost: gateway\r\nContent-Type: image/png\r\nContent-Length: 9999999\r\n\r\n"
        self._silent = threading.Event()
        self.connections = []
        for number in range(SENDERS):
            connection = sockets.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60.0))
            connection.sendall(head + bytes(LARGE_BYTES if number < LARGE_SENDERS else 100))
            self.connections.append(connection)
        self._thread = threading.Thread(target=self._trickle)
        self._thread.start()

    def _trickle(self) -> None:
        while not self._silent.wait(TRICKLE_S):
            for connection in self.connections:
                connection.sendall(b"x")

    def fall_silent(self) -> None:
        """Send nothing from now on."""
        self._silent.set()
        self._thread.join()


@contextmanager
def slow_senders(port: int) -> Iterator[SlowSenders]:
    """The senders, whose connections are closed at the end."""
    with ExitStack() as sockets:
        senders = SlowSenders(port, sockets)
        try:
            yield senders
        finally:
            senders.fall_silent()


def answer_to_the_end(connection: socket.socket) -> bytes:
    """All that the gateway sends until it ends the connection."""
    answer = b""
    while received := connection.recv(65_536):
        answer += received
    return answer


def spool_files(gateway: RunningStack, folder: Path) -> int:
    """Files without a name that the gateway has open in that folder."""
    descriptors = Path(f"/proc/{gateway.process.pid}/fd")
    count = 0
    for descriptor in descriptors.iterdir():
        try:
            count += descriptor.readlink().is_relative_to(folder)
        except FileNotFoundError:  # closed since it was listed
            continue
    return count


def median_s(ask: Callable[[], httpx.Response], status_code: int) -> float:
    """How long the middle one of the requests takes."""
    took_s = []
    for _ in range(REQUESTS):
        began_s = time.perf_counter()
        response = ask()
        took_s.append(time.perf_counter() - began_s)
        assert response.status_code == status_code, response.text
    return statistics.median(took_s)


def test_others_are_served_and_the_slow_are_ended(gateway: RunningStack, tmp_path: Path) -> None:
    picture = encoded("PNG")

    def health_s() -> float:
        return median_s(lambda: gateway.client.get("/healthz"), 200)

    def upload_s() -> float:
        return median_s(lambda: gateway.client.post("/upscale", files={"image": picture}), 202)

    alone_s = health_s(), upload_s()
    port = gateway.client.base_url.port
    assert port is not None
    with slow_senders(port) as senders:
        spool = tmp_path / "spool"
        eventually(
            lambda: spool_files(gateway, spool) == LARGE_SENDERS, what="the large uploads are on the disk"
        )
        for _ in range(TRIES):
            beside_s = health_s(), upload_s()
            if all(beside < alone + SLOWER_S for alone, beside in zip(alone_s, beside_s, strict=True)):
                break
        else:
            pytest.fail(f"the medians of {alone_s} s have become {beside_s} s")
        assert spool_files(gateway, spool) == LARGE_SENDERS

        senders.fall_silent()
        for connection in senders.connections:
            answer = answer_to_the_end(connection)
            assert answer.startswith(b"HTTP/1.1 408 "), answer
            assert b'"code":"upload_timed_out"' in answer
        eventually(lambda: spool_files(gateway, spool) == 0, what="the spool files are gone")
        assert list(spool.iterdir()) == []
        assert gateway.client.get("/healthz").status_code == 200
