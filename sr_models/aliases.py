"""Which version of each name is in production: `aliases.json`, beside the folders of the names.

`{"espcn-x4": {"production": 2, "previous": [1]}}`: `previous` are the versions that were in production before,
the latest last; it may be left out. No torch, so that every process can read it.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

ALIASES_FILE = "aliases.json"
LOCK_FILE = "aliases.json.lock"
"""Stays when nobody holds it: another process could hold a removed file's lock while a third locks a new one."""


class AliasesError(ValueError):
    """The table of versions in production cannot be used: correct it, or remove it so that the highest versions are."""


Version = Annotated[int, Field(ge=1, lt=10**9)]


@with_config(ConfigDict(extra="forbid", strict=True))
@dataclass(frozen=True)
class Alias:
    """What a name means."""

    production: Version
    """The version that is served."""
    previous: tuple[Version, ...] = ()
    """Those that were served before, the latest last."""

    def promoted(self, version: int) -> "Alias":
        """With another version in production."""
        return Alias(version, (*self.previous, self.production))

    def rolled_back(self) -> "Alias":
        """With the version in production that was so before. Raises IndexError where there was none."""
        return Alias(self.previous[-1], self.previous[:-1])


_TABLE = TypeAdapter(dict[str, Alias])


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the table against other writers; readers need no lock. Raises AliasesError where the folder cannot be written."""
    path = folder / LOCK_FILE
    try:
        lock = path.open("ab")
    except OSError as error:
        raise AliasesError(f"{path} cannot be opened, so nothing was changed: {error.strerror}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def read(folder: Path) -> dict[str, Alias]:
    """The table by name; empty where there is none. Raises AliasesError if it cannot be read."""
    path = folder / ALIASES_FILE
    try:
        return _TABLE.validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise AliasesError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise AliasesError(f"{path} is not an alias table: {where}: {first['msg']}") from error


def write(folder: Path, table: Mapping[str, Alias]) -> None:
    """Replace the table in one move; to be called under `locked`. Raises AliasesError and leaves the old one."""
    path = folder / ALIASES_FILE
    unfinished = folder / f".{ALIASES_FILE}.unfinished"
    text = json.dumps({name: asdict(table[name]) for name in sorted(table)}, indent=2) + "\n"
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise AliasesError(f"{path} cannot be written and stays as it was: {error.strerror}") from error
