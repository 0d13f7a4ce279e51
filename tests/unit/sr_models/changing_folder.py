"""What a reader sees while releases run: `python -m … EVENT PART READER CHANGE FOLDER`.

Just before the reader first does what Python calls EVENT (`open`, `os.scandir`) to a path that ends with PART, CHANGE
happens. Prints the version in production that it saw. A process of its own, since such a listener cannot be taken off.
"""

import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from sr_models import aliases
from sr_models.aliases import Alias
from sr_models.manifest import CheckpointFolder

NAME = "espcn-x2"


def release(folder: Path) -> None:
    """Version 2 appears, and 1 stays in production."""
    aliases.write(folder, {NAME: Alias(1)})
    (folder / ".2").rename(folder / NAME / "2")


def release_and_promote(folder: Path) -> None:
    """Version 2 appears and replaces 1 in production."""
    release(folder)
    aliases.write(folder, {NAME: Alias(1).promoted(2)})


def vanish(folder: Path) -> None:
    """Somebody deletes a folder of another name."""
    shutil.rmtree(folder / "bicubic-x2")


CHANGES: Mapping[str, Callable[[Path], None]] = {
    change.__name__: change for change in (release, release_and_promote, vanish)
}
READERS: Mapping[str, Callable[[CheckpointFolder], int | None]] = {
    "production": lambda folder: folder.production()[-1].manifest.version,
    "production_version": lambda folder: folder.production_version(NAME),
    "named": lambda folder: folder.named(NAME).manifest.version,
}


def main(event: str, part: str, reader: str, change: str, folder: Path) -> None:
    """Prints the version."""
    armed = True

    def hook(happening: str, arguments: tuple[object, ...]) -> None:
        nonlocal armed
        if armed and happening == event and str(arguments[0]).endswith(part):
            armed = False
            CHANGES[change](folder)

    sys.addaudithook(hook)
    print(READERS[reader](CheckpointFolder(folder)))
    assert not armed, "the change came in between"


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], Path(sys.argv[5]))
