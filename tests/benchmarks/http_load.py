"""A client that costs little beside the server: prepared requests over connections that stay open."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.benchmarks.figures import percentile

BOUNDARY = "a-boundary-of-ours"
MARK = b"0123456789abcdef"
"""Stands in the picture, and is another in each request: no two pictures are the same."""


@dataclass(frozen=True)
class Load:
    """What came of many requests."""

    requests_per_s: float
    """Over all connections."""
    latencies_s: list[float]
    """Of each request."""
    bodies: list[bytes]
    """Of each answer."""

    def percentile_ms(self, percent: float) -> float:
        """Of the latencies."""
        return percentile(self.latencies_s, percent) * 1000


def upload(host: str, picture: bytes) -> bytes:
    """A request that sends a picture with MARK in it."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="photo.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    option = (
        f'\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name="scale"\r\n\r\n4\r\n--{BOUNDARY}--\r\n'
    )
    body = head.encode() + picture + option.encode()
    lines = [
        "POST /upscale HTTP/1.1",
        f"Host: {host}",
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def uploads(request: bytes) -> Iterator[bytes]:
    """The request again and again, each time with another picture."""
    before, _, after = request.partition(MARK)
    for number in itertools.count():
        yield before + f"{time.time_ns():x}{number:x}"[-len(MARK) :].zfill(len(MARK)).encode() + after


def run(url: str, requests: Iterator[bytes], count: int, connections: int) -> Load:
    """Send so many of them, each connection one after the other. Raises RuntimeError where an answer is not 2xx."""
    return asyncio.run(_run(url, requests, count, connections))


async def _run(url: str, requests: Iterator[bytes], count: int, connections: int) -> Load:
    latencies_s: list[float] = []
    bodies: list[bytes] = []
    left = itertools.islice(requests, count)
    parts = urlsplit(url)

    async def send() -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        for request in left:
            began_s = time.perf_counter()
            writer.write(request)
            bodies.append(await _answer(reader))
            latencies_s.append(time.perf_counter() - began_s)
        writer.close()
        await writer.wait_closed()

    began_s = time.perf_counter()
    await asyncio.gather(*(send() for _ in range(connections)))
    return Load(count / (time.perf_counter() - began_s), latencies_s, bodies)


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.partition(b":")[2])
        for line in head.splitlines()
        if line.lower().startswith(b"content-length:")
    )
    body = await reader.readexactly(length)
    if not head.startswith(b"HTTP/1.1 2"):
        raise RuntimeError(f"the server answers {head.splitlines()[0]!r}: {body[:500]!r}")
    return body
