"""A receiver of webhooks: a real HTTP server, which verifies with the specification's own library."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="


@dataclass(frozen=True)
class Delivery:
    """A request that was received, and was genuine."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    payload: Any
    received_s: float


@dataclass
class Receiver:
    """Answers as it is told, and remembers what it got."""

    url: str = ""
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Taken from the front, one for each request; then 204."""
    gate: threading.Event = field(default_factory=threading.Event)
    """No answer is sent before it is open."""
    deliveries: list[Delivery] = field(default_factory=list)
    refused: list[Exception] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def job_ids(self) -> list[str]:
        """Of the jobs that it heard of, in order."""
        return [delivery.payload["data"]["id"] for delivery in self.deliveries]


@contextmanager
def running_receiver(host: str = "127.0.0.1", secret: str = SECRET) -> Iterator[Receiver]:
    """A receiver on a free port; its gate is open."""
    receiver = Receiver()
    receiver.gate.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with receiver.lock:
                receiver.at_once += 1
                receiver.most_at_once = max(receiver.most_at_once, receiver.at_once)
                try:
                    payload = Webhook(secret).verify(body, dict(self.headers))
                    receiver.deliveries.append(
                        Delivery(self.path, dict(self.headers), body, payload, time.time())
                    )
                except Exception as error:
                    receiver.refused.append(error)
                status, headers = receiver.answers.pop(0) if receiver.answers else (204, {})
            receiver.gate.wait(60)
            with receiver.lock:
                receiver.at_once -= 1
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()
            except OSError:  # the courier has gone
                pass

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 64

        def handle_error(self, *args: object) -> None:
            pass

    with Server((host, 0), Handler) as server:
        receiver.url = f"http://{host}:{server.server_address[1]}/hook"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield receiver
        finally:
            receiver.gate.set()
            server.shutdown()
            thread.join()
