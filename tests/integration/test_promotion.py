"""Promotions and rollbacks while a stack works: no restart, and no job is lost."""

import subprocess
import sys
import threading
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from sr_models import aliases
from sr_models.aliases import Alias
from tests.eventually import eventually
from tests.pictures import encoded, natural_picture
from tests.stack import RunningStack, running_stack
from tests.tiny_checkpoints import publish

pytestmark = pytest.mark.timeout(300)

JOBS_BETWEEN = 2
"""That have to end under each version before the next change."""


class SteadyJobs:
    """Jobs one after the other on a thread of its own, until it is told to stop."""

    def __init__(self, stack: RunningStack, picture: bytes, **options: object) -> None:
        self._stack, self._picture, self._options = stack, picture, options
        self.jobs: list[dict[str, Any]] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "SteadyJobs":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.jobs.append(self._stack.ended_job(self._stack.post(self._picture, **self._options)))

    def wait_for_more(self) -> None:
        """Until some jobs that began later than now have ended."""
        enough = len(self.jobs) + 1 + JOBS_BETWEEN
        eventually(lambda: not self._thread.is_alive() or len(self.jobs) >= enough, 120.0, "jobs end")


def checkpoint_of(job: dict[str, Any]) -> str:
    """The version that made its result."""
    checkpoint: str = job["result"]["checkpoint"]
    return checkpoint


def models(folder: Path, *arguments: str) -> None:
    """`enlarger models`, as an operator runs it."""
    command = [sys.executable, "-m", "enlarger", "models", "--checkpoints", str(folder), *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def test_running_workers_follow_promotion_and_rollback(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    publish(folder, version=1, psnr_db=30.0)
    aliases.write(folder, {"espcn-x2": Alias(1)})
    picture = encoded(natural_picture(40, 30), "PNG")
    environment = {"ENLARGER_CHECKPOINTS": str(folder)}
    with running_stack(tmp_path / "data", environment=environment) as stack:
        with (
            SteadyJobs(stack, picture, scale=2, model="espcn") as bare,
            SteadyJobs(stack, picture, scale=2, model="espcn@1") as pinned,
        ):
            bare.wait_for_more()
            publish(folder, version=2, psnr_db=31.0)
            publish(folder, version=3, psnr_db=32.0)
            models(folder, "promote", "espcn-x2@2")
            bare.wait_for_more()
            # Fate, after the promotion's checks: version 3 is put there and cannot be loaded.
            (folder / "espcn-x2" / "3" / "model.safetensors").write_bytes(b"")
            aliases.write(folder, {"espcn-x2": Alias(3, (1,))})
            bare.wait_for_more()
            models(folder, "rollback", "espcn-x2")
            bare.wait_for_more()
            pinned.wait_for_more()
        log = stack.log
    assert [job for job in bare.jobs + pinned.jobs if job["status"] != "succeeded"] == []
    assert [label for label, _ in groupby(map(checkpoint_of, bare.jobs))] == [
        "espcn-x2@1",  # although 2 and 3 were published meanwhile
        "espcn-x2@2",  # also while 3 was in production
        "espcn-x2@1",
    ]
    assert set(map(checkpoint_of, pinned.jobs)) == {"espcn-x2@1"}
    assert log.count("espcn-x2@2 is served instead") == 1
    assert log.count("ready on cpu") == 1
