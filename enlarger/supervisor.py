"""Keeps a program running: starts it again when it dies, stops it in good order, leaves no orphan."""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from enlarger import tether

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
RAN_WELL_S = 30.0
"""A program that ran for so long starts with the first pause again."""
MAX_FAILED_STARTS = 4
"""In a row, before the program was ever of use; the pauses between them are 3.5 s."""
LINE_BYTES = 1 << 20

logger = logging.getLogger(__name__)


class ProgramFailedError(Exception):
    """A part of the stack does not start: its last lines above say why."""


@dataclass(frozen=True)
class Program:
    """What to run."""

    name: str
    """For people; stands before each line that the program writes."""
    command: tuple[str, ...]
    """The first word is an absolute path."""
    environment: Mapping[str, str]
    """The whole environment."""
    grace_s: float
    """How long it may take to stop after SIGTERM before it is killed."""
    inherited_fds: tuple[int, ...] = ()
    """File descriptors that the program keeps open, besides standard output and error."""


class Child:
    """A program that is kept running from :meth:`start` to :meth:`stop`."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.proven = False
        """Set by the owner once the program has been of use; until then, failing to start is final."""
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._running: asyncio.Task[None] | None = None

    def start(self) -> asyncio.Task[None]:
        """Start the program. The task ends when the child is stopped.

        It raises ProgramFailedError when an unproven program died MAX_FAILED_STARTS times in a row.
        """
        self._running = asyncio.create_task(self._keep_running(), name=self.program.name)
        return self._running

    async def stop(self, hasten: asyncio.Event) -> None:
        """Ask the program to end, wait for its grace period or until `hasten` is set, then kill it."""
        self._stopping.set()
        if self._running is None:
            return
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.terminate()
        hastened = asyncio.create_task(hasten.wait())
        await asyncio.wait(
            {self._running, hastened}, timeout=self.program.grace_s, return_when=asyncio.FIRST_COMPLETED
        )
        hastened.cancel()
        if not self._running.done() and self._process is not None:
            logger.warning("%s does not stop: killing it", self.program.name)
            # The child leads a session, hence a process group, of its own.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(ProgramFailedError):
            await self._running

    async def _keep_running(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            started_s = time.monotonic()
            how = await self._run_once()
            if self._stopping.is_set():
                return
            failures = 1 if time.monotonic() - started_s >= RAN_WELL_S else failures + 1
            if not self.proven and failures >= MAX_FAILED_STARTS:
                raise ProgramFailedError(f"{self.program.name} does not start: its last lines above say why")
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (failures - 1))
            logger.error("%s %s: starting it again in %.1f s", self.program.name, how, pause_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)

    async def _run_once(self) -> str:
        # Started from the main thread, which lives as long as this process: the kernel tethers
        # the child to the thread. A session of its own keeps the terminal's Ctrl-C from it.
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(Path(tether.__file__)), str(os.getpid())),
            *self.program.command,
            env=self.program.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LINE_BYTES,
            start_new_session=True,
            pass_fds=self.program.inherited_fds,
        )
        # stop() may have come while the process was being made, and found none to end.
        if self._stopping.is_set():
            self._process.terminate()
        assert self._process.stdout is not None
        await self._relay(self._process.stdout)
        code = await self._process.wait()
        self._process = None
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    async def _relay(self, lines: asyncio.StreamReader) -> None:
        prefix = f"{self.program.name:<9}| ".encode()
        while True:
            try:
                line = await lines.readline()
            except ValueError:  # longer than LINE_BYTES
                line = b"(a very long line)\n"
            if not line:
                return
            # A terminal that is gone must not end the stack.
            with suppress(OSError):
                sys.stderr.buffer.write(prefix + line.rstrip(b"\n") + b"\n")
                sys.stderr.buffer.flush()
