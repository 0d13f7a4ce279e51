"""Releases that end badly at every moment of their writing: `python -m … killed|interrupted|full BENCHMARKS FOLDER`.

A process of its own, since it has to fork, to mount and to listen to what Python does to files. Prints how many moments there were.
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

from sr_models.catalog import build
from sr_models.manifest import CheckpointFolder
from tests.unit.training.conftest import tiny_recipe
from training.publication import UNFINISHED_FOLDER, ReleaseError
from training.release import publish

PAGE_BYTES = 4096
RELEASED, REFUSED, INTERRUPTED = 0, 3, 4


def release(benchmarks: Path, published: Path) -> None:
    """The next version of a network of a few kilobytes."""
    recipe = replace(
        tiny_recipe(),
        architecture="edsr",
        hyperparameters={"scale": 2, "blocks": 1, "features": 4},
        colour="rgb",
    )
    network = build(recipe.architecture, recipe.hyperparameters)
    publish(recipe.manifest(network), network, {}, benchmarks, published)


def in_a_fork(action: Callable[[], None]) -> int:
    """The exit code of a fork that does it; negative for a signal."""
    pid = os.fork()
    if not pid:
        try:
            action()
        except ReleaseError as error:
            print(error, file=sys.stderr)
            os._exit(REFUSED)
        except KeyboardInterrupt:
            os._exit(INTERRUPTED)
        os._exit(RELEASED)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def at_moment(moment: int, published: Path, end: Callable[[], None]) -> None:
    """Let `end` happen before the process opens, makes or renames something below `published` for the n-th time."""
    moments = count()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        ours = event in ("open", "os.mkdir", "os.rename") and str(arguments[0]).startswith(str(published))
        if ours and next(moments) == moment:
            end()

    sys.addaudithook(hook)


def kill() -> None:
    """As fate does."""
    os.kill(os.getpid(), signal.SIGKILL)


def interrupt() -> None:
    """As Ctrl-C does."""
    raise KeyboardInterrupt


def check(published: Path, *, tidy: bool) -> None:
    """Whatever happened: what was in production is, and whatever can be seen is whole."""
    folder = CheckpointFolder(published)
    assert folder.production_version("espcn-x2") == 1
    assert [c.manifest.version for c in folder.checkpoints()] in ([1], [1, 2])
    if tidy:
        assert not (published / UNFINISHED_FOLDER).exists()


def ended(end: Callable[[], None], tidy: bool, benchmarks: Path, first: Path, folder: Path) -> int:
    """End the second release at each moment, until one gets through."""
    for moment in count():
        published = folder / str(moment)
        shutil.copytree(first, published)
        (published / "aliases.json").unlink()  # the hardest case: only the release can keep 1 in production

        def run(moment: int = moment, published: Path = published) -> None:
            at_moment(moment, published, end)
            release(benchmarks, published)

        code = in_a_fork(run)
        check(published, tidy=tidy)
        if code == RELEASED:
            return moment
        assert code in (-signal.SIGKILL, INTERRUPTED), code
        release(benchmarks, published)
        check(published, tidy=True)
        assert 2 in CheckpointFolder(published).versions()["espcn-x2"]
    raise AssertionError


def full(benchmarks: Path, first: Path, folder: Path) -> int:
    """Give the second release a disk with no page left, then one page, two … until it gets through."""
    for pages in count():
        published = folder / str(pages)
        published.mkdir()
        mounted = not subprocess.run(
            ["mount", "-t", "tmpfs", "none", str(published)], capture_output=True, check=False
        ).returncode
        shutil.copytree(first, published, dirs_exist_ok=True)
        (published / "aliases.json").unlink()
        if mounted:
            used = os.statvfs(published)
            size = (used.f_blocks - used.f_bfree + pages) * PAGE_BYTES
            subprocess.run(["mount", "-o", f"remount,size={size}", str(published)], check=True)

        def run(pages: int = pages, published: Path = published, mounted: bool = mounted) -> None:
            if not mounted:  # no file may become longer, which is as good as the first moments of a full disk
                resource.setrlimit(resource.RLIMIT_FSIZE, (pages * PAGE_BYTES, pages * PAGE_BYTES))
            release(benchmarks, published)

        code = in_a_fork(run)
        check(published, tidy=True)
        assert code in (RELEASED, REFUSED), code
        if mounted:
            subprocess.run(["umount", str(published)], check=True)
        if code == RELEASED:
            return pages
    raise AssertionError


def main(mode: str, benchmarks: Path, folder: Path) -> None:
    """Prints the number of moments."""
    first = folder / "first"
    release(benchmarks, first)
    if mode == "full":
        print(full(benchmarks, first, folder))
    else:
        print(
            ended(
                {"killed": kill, "interrupted": interrupt}[mode], mode != "killed", benchmarks, first, folder
            )
        )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
