"""A real HTTP server on this machine that gives files as large archives are given, and fails as the web does."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """What it serves and how; a test changes it while it runs."""

    files: dict[str, bytes]
    url: str = ""
    cuts_bytes: list[int] = field(default_factory=list)
    """The next responses end after so many bytes, the connection with them."""
    statuses: list[int] = field(default_factory=list)
    """The next responses have these statuses and no content."""
    ranges: bool = True
    """Whether it honours `Range`."""
    etags: bool = True
    """Whether it tells versions of a file from each other."""
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with every response, in place of its own of the same name."""
    asked: list[str] = field(default_factory=list)
    """The `Range` of each request; empty where it had none."""


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[FileServer]:
    state = FileServer(files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            state.asked.append(wanted)
            name = self.path.lstrip("/")
            if state.statuses:
                return self.answer(state.statuses.pop(0), b"")
            if name not in state.files:
                return self.answer(404, b"")
            content = state.files[name]
            etag = f'"{hashlib.sha256(content).hexdigest()[:8]}"'
            headers = {"ETag": etag} if state.etags else {}
            if not state.ranges or not wanted or self.headers.get("If-Range") != etag:
                return self.answer(200, content, headers)
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return self.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return self.answer(206, content[start:], headers)

        def answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in ((headers or {}) | state.headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if content and state.cuts_bytes:
                self.wfile.write(content[: state.cuts_bytes.pop(0)])
                self.close_connection = True
            else:
                self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            """Keep the tests' output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
