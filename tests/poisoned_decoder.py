"""`python -m tests.poisoned_decoder`: a worker's decoder process, on which poisons work."""

import ctypes
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL.PngImagePlugin import PngImageFile

from tests.poisons import Poison
from worker.decoder_process import main

load_as_ever = PngImageFile.load


def spy() -> dict[str, str]:
    """What each attempt came to: the name of its exception, or `done`."""
    attempts: dict[str, Callable[[], Any]] = {
        "read the worker's secrets": Path(f"/proc/{os.getppid()}/environ").read_bytes,
        "read a file": Path("/etc/passwd").read_bytes,
        "list a folder": lambda: next(Path("/").iterdir()),
        "write a file": lambda: Path("/tmp/decoder-was-here").write_bytes(b"me"),
        "run a program": lambda: os.execv("/bin/true", ["true"]),
        "connect": lambda: socket.create_connection(("127.0.0.1", 1), timeout=5.0),
        "signal": lambda: os.kill(os.getppid(), 0),
    }
    results = {}
    for name, attempt in attempts.items():
        try:
            attempt()
            results[name] = "done"
        except OSError as error:
            results[name] = type(error).__name__
    return results


def load(picture: PngImageFile) -> Any:
    """Obey the poison, and decode everything else."""
    match picture.info.get("Comment"):
        case Poison.CRASH:
            ctypes.string_at(0)
        case Poison.BOMB:
            taken = []
            while True:
                taken.append(bytearray(64 << 20))
        case Poison.SPY:
            raise OSError(json.dumps(spy()))
        case Poison.LOOP:
            while True:
                pass
        case Poison.WAIT:
            while True:
                signal.pause()
    return load_as_ever(picture)


if __name__ == "__main__":
    PngImageFile.load = load  # type: ignore[assignment]
    main()
