"""An HTTP proxy before an S3 server that does to its clients what networks, disks and operators do."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "proxy-connection"}


@dataclass(frozen=True)
class Fault:
    """What happens to a request."""

    status: int = 0
    """Answer with this status instead of passing the request on; 0 passes it on."""
    delay_s: float = 0.0
    """Wait so long before anything else."""
    cut_off: bool = False
    """Pass on half of the request's body, then drop both connections."""


NO_FAULT = Fault()


@dataclass
class FaultyProxy:
    """Passes requests on to `upstream` except where told."""

    upstream: str
    choose: Callable[[str, str], Fault] = lambda method, path: NO_FAULT
    """The fault for a request's method and path; asked for each."""
    url: str = ""
    faults: int = 0
    """How many requests met one."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, method: str, path: str) -> Fault:
        """Choose, and count."""
        with self._lock:
            chosen = self.choose(method, path)
            self.faults += chosen != NO_FAULT
            return chosen


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    proxy: FaultyProxy

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.proxy.fault(self.command, self.path)
        time.sleep(fault.delay_s)
        if fault.status:
            self._answer(fault.status, {"Content-Type": "application/xml"}, _s3_error(fault.status))
            return
        upstream = HTTPConnection(urlsplit(self.proxy.upstream).netloc, timeout=60)
        try:
            if fault.cut_off:
                upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    upstream.putheader(name, value)
                upstream.endheaders(body[: len(body) // 2])
                self.close_connection = True
                return
            upstream.request(self.command, self.path, body, dict(self.headers))
            answer = upstream.getresponse()
            content = answer.read()
            headers = {
                k: v for k, v in answer.getheaders() if k.lower() not in HOP_BY_HOP | {"content-length"}
            }
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            self._answer(answer.status, headers, content, length)
        finally:
            upstream.close()

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass_on

    def _answer(
        self, status: int, headers: dict[str, str], content: bytes, length: str | None = None
    ) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the faults are meant."""


def _s3_error(status: int) -> bytes:
    code = {403: "AccessDenied", 503: "SlowDown", 507: "InsufficientStorage"}.get(status, "InternalError")
    return f"<Error><Code>{code}</Code><Message>as the test told</Message></Error>".encode()


@contextmanager
def faulty_proxy(upstream: str) -> Iterator[FaultyProxy]:
    """A proxy on a port of its own, before the server at that URL."""
    proxy = FaultyProxy(upstream)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, name="proxy", daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
