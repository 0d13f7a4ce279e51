"""Decoding in processes of its own, so that a picture that kills its decoder costs one job and not its fellows.

What a decoder says is a stranger's word once it has read a stranger's bytes: see `worker.decoder_wire`.
`docs/decisions/0011` says what this defends and what it does not.
"""

import fcntl
import logging
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import numpy as np

from sr_models.samples import StoredSamples
from worker.contract.reading import AS_IT_IS, Reading
from worker.decoder_wire import (
    ANSWER,
    ANSWER_LENGTH,
    CONFINED,
    DONE,
    MAX_ANSWER_BYTES,
    READING,
    READY,
    REQUEST_LENGTHS,
    DecodedAnswer,
    RefusedAnswer,
    receive,
    wait_until,
)
from worker.errors import (
    DecoderFailedError,
    DecoderUnavailableError,
    JobError,
    PictureDamagedError,
    PictureUnsupportedError,
)
from worker.picture import Frame, Picture

PICTURES_A_PROCESS = 500
"""After so many a decoder makes room for a new one: what the C libraries leak goes, and one that a picture has taken over
reads no more than that. A start takes 0.2 s of processor time, so that it costs each picture less than a millisecond."""

START_TIMEOUT_S = 60.0
"""A start takes 0.2 s, on a busy machine some seconds."""

METADATA_ALLOWANCE_BYTES = 2 << 20
"""A picture's profile, EXIF, XMP and IPTC together are no longer than its file and this: PNG compresses profile and XMP, of which Pillow reads a MiB each."""

INHERITED_VARIABLES = {
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "PATH",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHOME",
    "PYTHONPATH",
    "TMPDIR",
}
"""What a Python process may need to find its modules. The worker's secrets are in others."""

OWN_VARIABLES = {
    # numpy's linear algebra, which decoding does not need, would start a thread for each core and map memory for each.
    "OPENBLAS_NUM_THREADS": "1",
    # glibc, left alone, gives back what each picture took, and takes every page anew for the next: a JPEG of 640x480 took 3.5 ms instead
    # of 2.6, one of 12 megapixels 155 ms instead of 104. A decoder trims when it is idle.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
}
"""What a decoder has besides."""

logger = logging.getLogger(__name__)


class DecoderPool:
    """As many decoder processes as pictures are decoded at once. Thread-safe.

    A context manager; it must outlive whoever calls :meth:`decode`.
    """

    def __init__(
        self, *, timeout_s: float, memory_bytes: int, module: str = "worker.decoder_process"
    ) -> None:
        """Start the first process, so that what would keep every one from starting is known at once: raises DecoderUnavailableError.

        `memory_bytes` is what each process may map, its code (about 170 MB) included.
        """
        self._timeout_s = timeout_s
        self._memory_bytes = memory_bytes
        self._module = module
        # A process dies with the thread that started it (PR_SET_PDEATHSIG), so that one thread starts them all.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="decoder-starter")
        # At its right end those that have just worked; at its left end those that are just being started.
        self._idle: deque[Future[DecoderProcess]] = deque()
        first = self._start()
        try:
            first.result()
        except JobError:
            self._starter.shutdown()
            raise
        self._idle.append(first)
        if not first.result().confined:
            logger.warning(
                "no Landlock here: a decoder that a picture takes over could open the worker's files"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes."""
        self._starter.shutdown()
        while self._idle:
            started = self._idle.pop()
            if started.exception() is None:
                started.result().end()

    def decode(self, content: bytes, reading: Reading = AS_IT_IS) -> Picture:
        """As `worker.reading.decode`, by a process that may die of it.

        Raises DecoderFailedError where it died, took too long, or did not keep to what was agreed; DecoderUnavailableError where none starts.
        """
        started = self._take()
        process = started.result()
        try:
            picture = process.decode(content, reading, time.monotonic() + self._timeout_s)
        except (PictureDamagedError, PictureUnsupportedError):
            self._give_back(started)
            raise
        except BaseException:
            process.end()
            self._idle.appendleft(self._start())
            raise
        self._give_back(started)
        return picture

    def _start(self) -> "Future[DecoderProcess]":
        return self._starter.submit(DecoderProcess, self._module, self._memory_bytes)

    def _take(self) -> "Future[DecoderProcess]":
        """A process that lives, or will. One that was killed while it was idle costs nobody a job."""
        while True:
            try:
                started = self._idle.pop()
            except IndexError:
                return self._start()
            if not started.done() or (started.exception() is None and started.result().alive):
                return started
            if started.exception() is None:
                started.result().end()

    def _give_back(self, started: "Future[DecoderProcess]") -> None:
        if started.result().pictures < PICTURES_A_PROCESS:
            self._idle.append(started)
        else:
            started.result().end()
            self._idle.appendleft(self._start())


class DecoderProcess:
    """One process, which decodes one picture at a time."""

    def __init__(self, module: str, memory_bytes: int) -> None:
        """Return when it is ready. Raises DecoderUnavailableError."""
        self.pictures = 0
        self._memory_bytes = memory_bytes
        self._socket, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    # -P where we have it: then a folder `worker` in the current directory is not taken for ours.
                    [
                        sys.executable,
                        *(["-P"] if sys.flags.safe_path else []),
                        "-m",
                        module,
                        str(memory_bytes),
                    ],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    env=_environment(),
                    start_new_session=True,  # Ctrl-C is for the worker, which finishes what runs
                )
            except OSError as error:
                self._socket.close()
                raise DecoderUnavailableError(f"{DecoderUnavailableError.__doc__} ({error})") from error
        try:
            said = receive(self._socket, len(READY), time.monotonic() + START_TIMEOUT_S)
        except (OSError, EOFError) as error:
            self.end()
            raise DecoderUnavailableError from error
        self.confined = said == CONFINED
        """Whether it can open no file but code, and no TCP connection."""

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._socket.close()

    def decode(self, content: bytes, reading: Reading, deadline_s: float) -> Picture:
        """The picture. Raises as :meth:`DecoderPool.decode` does; the process must be ended after a DecoderFailedError."""
        self.pictures += 1
        try:
            return self._decode(content, reading, deadline_s)
        except TimeoutError as error:
            raise self._failure("took longer than the worker allows") from error
        except (OSError, EOFError) as error:
            raise self._failure(f"died ({self._cause_of_death()})") from error
        except ValueError as error:  # pydantic's too
            raise self._failure("answered nonsense") from error

    def _decode(self, content: bytes, reading: Reading, deadline_s: float) -> Picture:
        asked = READING.dump_json(reading)
        wait_until(self._socket, deadline_s)
        self._socket.sendall(REQUEST_LENGTHS.pack(len(asked), len(content)) + asked)
        wait_until(self._socket, deadline_s)
        self._socket.sendall(content)
        (size_bytes,) = ANSWER_LENGTH.unpack(receive(self._socket, ANSWER_LENGTH.size, deadline_s))
        if size_bytes > MAX_ANSWER_BYTES:
            raise ValueError(f"an answer of {size_bytes} bytes")
        answer = ANSWER.validate_json(receive(self._socket, size_bytes, deadline_s))
        if isinstance(answer, RefusedAnswer):
            raise self._refusal(answer)
        if answer.samples_bytes > self._memory_bytes:
            raise ValueError(f"{answer.samples_bytes} bytes of samples")
        attached = sum(length or 0 for length in answer.attached_bytes)
        if attached > len(content) + METADATA_ALLOWANCE_BYTES:
            raise ValueError(f"{attached} bytes of profile, EXIF, XMP and IPTC")
        profile, exif, xmp, iptc = (
            None if length is None else bytes(receive(self._socket, length, deadline_s))
            for length in answer.attached_bytes
        )
        planes = list(self._samples(answer, deadline_s))
        step = 1 + answer.has_alpha
        frames = (
            Frame(planes[n * step], planes[n * step + 1] if answer.has_alpha else None, duration_ms)
            for n, duration_ms in enumerate(answer.durations_ms)
        )
        return Picture(
            format=answer.format,
            frames=tuple(frames),
            grey=answer.grey,
            icc_profile=profile,
            gamma=answer.gamma,
            exif=exif,
            xmp=xmp,
            iptc=iptc,
            dpi=answer.dpi,
            loops=answer.loops,
            notes=answer.notes,
        )

    def _samples(self, answer: DecodedAnswer, deadline_s: float) -> StoredSamples:
        """The planes, (N, H, W, 3), in memory that the process fills and nobody copies."""
        descriptor = _shared_memory(answer.samples_bytes)
        try:
            wait_until(self._socket, deadline_s)
            socket.send_fds(self._socket, [b"M"], [descriptor])
            if receive(self._socket, len(DONE), deadline_s) != DONE:
                raise ValueError("something else than that it is done")
            memory = mmap.mmap(descriptor, answer.samples_bytes, prot=mmap.PROT_READ)
        finally:
            os.close(descriptor)
        if answer.bits == 8:
            return np.frombuffer(memory, np.uint8).reshape(answer.shape)
        return np.frombuffer(memory, np.uint16).reshape(answer.shape)

    def _refusal(self, answer: RefusedAnswer) -> JobError:
        if answer.code == "out_of_memory":
            return self._failure("needs more memory than the worker allows")
        kind = PictureDamagedError if answer.code == PictureDamagedError.code else PictureUnsupportedError
        return kind(answer.message)

    def _failure(self, what: str) -> DecoderFailedError:
        logger.warning("decoder process %d %s; another takes its place", self.pid, what)
        return DecoderFailedError(f"{DecoderFailedError.__doc__} (The decoder {what}.)")

    def _cause_of_death(self) -> str:
        try:
            status: int = self._process.wait(1.0)
        except subprocess.TimeoutExpired:  # it lives, and has only closed the socket
            return "socket closed"
        return signal.Signals(-status).name if status < 0 else f"exit status {status}"


def _environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name in INHERITED_VARIABLES}
    return inherited | OWN_VARIABLES


def _shared_memory(size_bytes: int) -> int:
    """The descriptor of memory of exactly this size, which a process that gets it can fill.

    Not multiprocessing.shared_memory: that lies in /dev/shm, of which a container has 64 MB, has a name that any process can open, and can be
    cut short by whoever has it, which kills its other readers (SIGBUS).
    """
    if sys.platform != "linux":
        with tempfile.TemporaryFile() as file:
            file.truncate(size_bytes)
            return os.dup(file.fileno())
    descriptor = os.memfd_create("samples", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size_bytes)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return descriptor
