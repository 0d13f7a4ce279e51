"""Runs a command that dies with its parent: `python tether.py PARENT_PID COMMAND [ARGUMENT...]`.

A program of its own rather than a `preexec_fn`, which may deadlock where the parent has threads.
Linux only; elsewhere the command is run untethered, and outlives a parent that is killed.
Standard library only: it is run with `-I -S` so as to start in milliseconds.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""From <sys/prctl.h>. The setting survives exec."""


def tether(parent_pid: int) -> None:
    """Have the kernel kill this process when the thread that started it ends.

    Raises OSError if the kernel refuses, ProcessLookupError if the parent is already gone.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    # A parent that died before the call above sends no signal any more.
    if os.getppid() != parent_pid:
        raise ProcessLookupError(f"process {parent_pid}, which asked for this command, is gone")


def main() -> None:
    """Tether this process and become the command."""
    tether(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
