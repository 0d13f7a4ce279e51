"""`enlarger up` as a user starts it, for tests: a process of its own, on a free port, in a folder of its own."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.eventually import eventually

START_TIMEOUT_S = 90.0
JOB_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RunningStack:
    """A stack that was started, and what a client and an operator do with it."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, log_path: Path) -> None:
        self.process = process
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60.0, trust_env=False)
        self._log_path = log_path

    @property
    def log(self) -> str:
        """What the stack has written so far."""
        return self._log_path.read_text(errors="replace")

    def wait_until_ready(self) -> None:
        """Return when the stack takes jobs. Raises AssertionError with its log if it does not come to that."""

        def ready() -> bool:
            assert self.process.poll() is None, f"the stack ended:\n{self.log}"
            try:
                return self.client.get("/readyz").status_code == 200
            except httpx.TransportError:
                return False

        try:
            eventually(ready, START_TIMEOUT_S, "the stack is ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log}") from error

    def post(self, content: bytes, **options: Any) -> str:
        """Send a picture; the job's path."""
        answer = self.client.post("/upscale", files={"image": ("picture", content)}, data=options)
        assert answer.status_code == 202, answer.text
        return answer.headers["Location"]

    def job(self, path: str) -> dict[str, Any]:
        """The job as it stands."""
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def ended_job(self, path: str, timeout_s: float = JOB_TIMEOUT_S) -> dict[str, Any]:
        """The job once it has ended."""

        def ended() -> dict[str, Any] | None:
            job = self.job(path)
            return job if job["status"] in ("succeeded", "failed", "canceled") else None

        return eventually(ended, timeout_s, f"{path} ended")

    def result(self, path: str) -> bytes:
        """The job's picture, once it has succeeded."""
        job = self.ended_job(path)
        assert job["status"] == "succeeded", job
        answer = self.client.get(f"{path}/result")
        assert answer.status_code == 200, answer.text
        return answer.content

    def stop(self) -> int:
        """Ask the stack to end as Ctrl-C does, and wait; its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_TIMEOUT_S)


@contextmanager
def running_stack(
    data: Path, *arguments: str, environment: Mapping[str, str] | None = None, port: int | None = None
) -> Iterator[RunningStack]:
    """A stack that takes jobs; whatever is left of it at the end is killed."""
    port = port or free_port()
    inherited = {k: v for k, v in os.environ.items() if k != "REDIS_URL" and not k.startswith("ENLARGER_")}
    log_path = data.with_name(f"{data.name}.log")
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "enlarger", "up", "--data", str(data), "--port", str(port), *arguments],
            env={**inherited, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    stack = RunningStack(process, port, log_path)
    try:
        stack.wait_until_ready()
        yield stack
    finally:
        stack.client.close()
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
