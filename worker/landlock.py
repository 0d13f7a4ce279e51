"""Giving up files, TCP and signals to others for the rest of a process's life, by Linux's Landlock (https://docs.kernel.org/userspace-api/landlock.html).

It needs no privilege, no other program, and takes nothing away that the process has open already. The system calls have the same numbers on
every architecture; the C library has no names for them.
"""

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILE_RIGHTS_OF_VERSION = {1: 13, 2: 14, 3: 15, 5: 16}
"""How many rights over files there are from that version on; the first bits."""
_TCP_FROM_VERSION, _BIND_AND_CONNECT = 4, 0b11
_SCOPES_FROM_VERSION, _ABSTRACT_SOCKETS_AND_SIGNALS = 6, 0b11


class _Ruleset(ctypes.Structure):
    _fields_ = [
        ("files", ctypes.c_uint64),
        ("tcp", ctypes.c_uint64),
        ("scopes", ctypes.c_uint64),
    ]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32)]


def confine_to_reading(folders: Iterable[Path]) -> bool:
    """Leave this thread, and what it starts, nothing but to read what lies in the folders. False where the kernel has no Landlock, or forbids it.

    What an older kernel does not know yet (TCP before 6.7, signals to others before 6.12) it goes on to allow.
    """
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    version = library.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG)
    if version < 1:
        return False
    file_rights = max(count for since, count in _FILE_RIGHTS_OF_VERSION.items() if since <= version)
    wanted = _Ruleset(
        files=(1 << file_rights) - 1,
        tcp=_BIND_AND_CONNECT if version >= _TCP_FROM_VERSION else 0,
        scopes=_ABSTRACT_SOCKETS_AND_SIGNALS if version >= _SCOPES_FROM_VERSION else 0,
    )
    # An older kernel takes the longer structure as long as the rest of it is zero.
    ruleset = _checked(
        library.syscall(_CREATE_RULESET, ctypes.byref(wanted), ctypes.c_size_t(ctypes.sizeof(wanted)), 0)
    )
    try:
        for path in folders:
            folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
            rule = _PathBeneath(allowed=_READ_FILE | _READ_DIR, folder=folder)
            _checked(library.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0))
            os.close(folder)
        _checked(library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(library.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return True


def _checked(status: int) -> int:
    if status < 0:
        raise OSError(ctypes.get_errno(), "Landlock: " + os.strerror(ctypes.get_errno()))
    return status
