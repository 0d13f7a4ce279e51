"""The whole service on one machine: Valkey, the gateway and workers as one process tree."""

import asyncio
import logging
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import ProxyHandler, build_opener

from redis import Redis
from redis.exceptions import RedisError

from enlarger.data_folder import DataFolder
from enlarger.supervisor import Child, Program
from enlarger.valkey import valkey_command

GATEWAY_GRACE_S = 10.0
"""For responses that are being sent."""
WORKER_GRACE_S = 120.0
"""For the jobs that run. One that takes longer is killed with its worker, and runs again at the next start."""
VALKEY_GRACE_S = 30.0
POLL_S = 0.1
READY_POLL_S = 0.5
"""Each time is a line in the gateway's log."""
REDIS_WAIT_S = 5.0
SLOW_START_S = 30.0
SAME_WISH_S = 0.5
"""`timeout` and process managers signal a program and then its group: two signals that mean one."""

logger = logging.getLogger(__name__)


class PortInUseError(Exception):
    """Another program listens on the port: stop it, or give another --port."""


class RedisUnreachableError(Exception):
    """Redis does not answer: check ENLARGER_REDIS_URL."""


@dataclass(frozen=True)
class Address:
    """Where the gateway is to listen."""

    host: str
    """A name or an address; 0.0.0.0 or :: for all."""
    port: int
    """1 to 65535."""

    @property
    def url(self) -> str:
        """How to reach it from this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def check_free(self) -> None:
        """Raises PortInUseError if another program listens there, or the address is not this machine's."""
        try:
            family, kind, _, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind) as probe:
                # As the gateway will: connections that have just ended do not make the port busy.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                probe.listen()
        except OSError as error:
            raise PortInUseError(
                f"{self.host} port {self.port} cannot be used ({error.strerror}): "
                "stop the program that listens there, or give another --port"
            ) from error


class Stack:
    """One gateway and its workers, on a Redis of their own or one that is given."""

    def __init__(
        self,
        address: Address,
        data: DataFolder,
        *,
        devices: Sequence[str],
        redis_url: str | None,
        environment: Mapping[str, str],
        on_ready: Callable[[], None],
    ) -> None:
        """One worker for each of `devices`."""
        self._address = address
        self._on_ready = on_ready
        self._redis_url = redis_url or f"unix://{quote(str(data.socket))}"
        environment = {
            "ENLARGER_BLOBS_URL": data.blobs_url,
            **environment,
            "ENLARGER_HOST": address.host,
            "ENLARGER_PORT": str(address.port),
            "ENLARGER_REDIS_URL": self._redis_url,
            "PYTHONUNBUFFERED": "1",
        }
        self._valkey = None if redis_url else Child(_valkey(data))
        self._gateway = Child(_module("gateway", "service", environment, GATEWAY_GRACE_S))
        self._workers = [
            Child(
                _module(f"worker-{number}", "worker", _of_worker(environment, number, device), WORKER_GRACE_S)
            )
            for number, device in enumerate(devices, 1)
        ]
        self._hasten = asyncio.Event()
        self._asked_s = -math.inf

    async def run(self) -> None:
        """Run until SIGINT or SIGTERM; a second one hastens the end.

        Raises RedisUnreachableError if the given Redis does not answer, ProgramFailedError if a
        part does not start. Everything is stopped when this returns or raises.
        """
        loop = asyncio.get_running_loop()
        self._end: asyncio.Future[None] = loop.create_future()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal)
        starting = self._watch(asyncio.create_task(self._start()))
        try:
            await self._end
        finally:
            starting.cancel()
            await self._stop()

    def _on_signal(self) -> None:
        if not self._end.done():
            logger.info("stopping: running jobs are finished, waiting ones stay queued (again to hasten)")
            self._end.set_result(None)
            self._asked_s = time.monotonic()
        elif time.monotonic() - self._asked_s > SAME_WISH_S:
            logger.warning("not waiting any longer")
            self._hasten.set()

    def _watch(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        """End the stack with the task's error, if it has one."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) and not self._end.done():
                self._end.set_exception(error)

        task.add_done_callback(ended)
        return task

    async def _start(self) -> None:
        if self._valkey is not None:
            self._watch(self._valkey.start())
        await self._redis_answers()
        if self._valkey is not None:
            self._valkey.proven = True
        for child in (self._gateway, *self._workers):
            self._watch(child.start())
        await self._gateway_is_ready()
        for child in (self._gateway, *self._workers):
            child.proven = True
        self._on_ready()

    async def _stop(self) -> None:
        # The gateway first, so that nothing is accepted any more; the queue last, so that nothing is lost.
        await self._gateway.stop(self._hasten)
        await asyncio.gather(*(worker.stop(self._hasten) for worker in self._workers))
        if self._valkey is not None:
            # Not to be hastened: what it has not written yet are accepted jobs.
            await self._valkey.stop(asyncio.Event())

    async def _redis_answers(self) -> None:
        deadline_s = time.monotonic() + REDIS_WAIT_S
        with Redis.from_url(self._redis_url, socket_timeout=2.0, socket_connect_timeout=2.0) as redis:
            while True:
                try:
                    await asyncio.to_thread(redis.ping)
                    return
                except RedisError as error:
                    # Our own may take long to read its file, and its end is noticed elsewhere.
                    if self._valkey is None and time.monotonic() > deadline_s:
                        raise RedisUnreachableError(
                            f"Redis does not answer ({error}): check ENLARGER_REDIS_URL"
                        ) from error
                await asyncio.sleep(POLL_S)

    async def _gateway_is_ready(self) -> None:
        # Not urlopen's usual opener: a proxy in the environment is not for this machine's own addresses.
        opener = build_opener(ProxyHandler({}))
        slow_s = time.monotonic() + SLOW_START_S
        while True:
            try:
                with await asyncio.to_thread(opener.open, f"{self._address.url}/readyz", timeout=2.0):
                    return
            except OSError as error:
                if time.monotonic() > slow_s:
                    logger.warning("not ready yet: %s", await asyncio.to_thread(_reason, error))
                    slow_s = math.inf
            await asyncio.sleep(READY_POLL_S)


def _of_worker(environment: Mapping[str, str], number: int, device: str) -> dict[str, str]:
    """The environment of one worker: a device of its own, and ports for metrics that follow each other."""
    port = int(environment.get("ENLARGER_METRICS_PORT", "0"))
    return {
        **environment,
        "ENLARGER_DEVICE": device,
        "ENLARGER_METRICS_PORT": str(port + number - 1 if port else 0),
    }


def _module(name: str, module: str, environment: Mapping[str, str], grace_s: float) -> Program:
    # -P: a folder `service` or `worker` in the current directory must not be taken for ours.
    return Program(name, (sys.executable, "-P", "-m", module), environment, grace_s)


def _valkey(data: DataFolder) -> Program:
    return Program(
        "valkey",
        valkey_command(data.valkey, data.socket),
        os.environ,
        VALKEY_GRACE_S,
        # It must never share its append-only file: while it lives, the folder stays locked.
        inherited_fds=(data.lock_fd,),
    )


def _reason(error: OSError) -> str:
    """What /readyz said, or why it could not be asked."""
    return error.read(2000).decode(errors="replace") if isinstance(error, HTTPError) else str(error)
