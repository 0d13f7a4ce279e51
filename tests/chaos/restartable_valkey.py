"""A Valkey that keeps its data in a file, as the one-machine stack runs it, to be killed and started again."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from redis import Redis
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as RedisConnectionError

from enlarger.valkey import valkey_command
from tests.eventually import eventually

START_TIMEOUT_S = 20.0


class RestartableValkey:
    """One server with an append-only file that is flushed each second, on a unix socket."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "valkey.sock"
        self.url = f"unix://{self._socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and return once it answers, with all that it had."""
        self._process = subprocess.Popen(
            valkey_command(self._folder, self._socket), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually(self._answers, START_TIMEOUT_S, "Valkey answers")

    def kill(self) -> None:
        """SIGKILL: what it had acknowledged is in the kernel's hands and so in the file; a power cut is another matter."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "Valkey ended"
        with Redis.from_url(self.url) as redis, suppress(RedisConnectionError, BusyLoadingError):
            return bool(redis.ping())
        return False


@contextmanager
def restartable_valkey() -> Iterator[RestartableValkey]:
    """A server that answers; whatever runs at the end is killed."""
    # Not pytest's tmp_path: a socket's path may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="valkey-") as folder:
        server = RestartableValkey(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.kill()
