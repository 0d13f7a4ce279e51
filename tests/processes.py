"""What Linux says of a process."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process that runs."""

    parent: int
    """Its parent's number."""
    cpu_ticks: int
    """The processor time that it has had."""


def look_at(pid: int) -> Process | None:
    """None where it has ended, though nobody may have asked for its exit status yet."""
    try:
        state, parent, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state == "Z" else Process(int(parent), int(fields[9]) + int(fields[10]))


def is_running(pid: int) -> bool:
    """Whether it has not ended."""
    return look_at(pid) is not None
