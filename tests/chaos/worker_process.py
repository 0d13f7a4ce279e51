"""A worker as a process of its own, and what fate does to it."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from redis import Redis

from tests.eventually import eventually
from worker.contract.fleet import RqFleet

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
"""Longer than the jobs in flight take on a busy machine; whoever stops a worker gives it 120 s."""

SHORT_LEASE_S = 4
"""The shortest that a worker takes: a killed worker's jobs are given to others soon."""


class WorkerProcess:
    """`python -m worker`, which may be killed and started again. A context manager; at its end the process is killed."""

    def __init__(
        self, redis_url: str, log_path: Path, environment: Mapping[str, str], module: str = "worker"
    ) -> None:
        self._redis_url = redis_url
        self._log_path = log_path
        self._module = module
        inherited = {
            k: v for k, v in os.environ.items() if k != "REDIS_URL" and not k.startswith("ENLARGER_")
        }
        self._environment = {
            **inherited,
            "ENLARGER_REDIS_URL": redis_url,
            "ENLARGER_DEVICE": "cpu",
            "ENLARGER_THREADS": "1",
            "ENLARGER_LEASE_S": str(SHORT_LEASE_S),
            **environment,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(f"---- the worker's log\n{self.log}")
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def pid(self) -> int:
        """Of the process that runs or ran last."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """How it ended, minus the signal's number where one killed it; None while it runs."""
        return None if self._process is None else self._process.poll()

    @property
    def log(self) -> str:
        """What every process started so far has written."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    @property
    def resident_bytes(self) -> int:
        """The memory that it has."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    def start(self) -> None:
        """Start the process; returns before it takes jobs."""
        assert not self.running
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._module],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def start_and_wait(self) -> None:
        """Start the process and return once it takes jobs."""
        started_before = self.log.count("ready on")
        self.start()

        def ready() -> bool:
            assert self.running, f"the worker ended with {self.exit_status}:\n{self.log}"
            return self.log.count("ready on") > started_before and self._lives()

        eventually(ready, START_TIMEOUT_S, "the worker takes jobs")

    def _lives(self) -> bool:
        with Redis.from_url(self._redis_url) as redis:
            return bool(RqFleet(redis).live_workers())

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: it does nothing more until it is resumed or killed."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask_to_stop(self) -> None:
        """SIGTERM."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait for the process's end; its exit status."""
        assert self._process is not None
        return self._process.wait(timeout_s)
