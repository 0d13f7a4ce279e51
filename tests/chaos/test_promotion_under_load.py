"""Versions promoted while many jobs are in flight: none fails, and each names one that was in production while it ran."""

import time
from pathlib import Path

from sr_models import aliases
from sr_models.aliases import Alias
from tests.chaos.scale import SCALE
from tests.chaos.site import Site
from tests.eventually import eventually
from tests.tiny_checkpoints import publish
from worker.contract.fleet import RqFleet
from worker.contract.jobs import JobStatus

JOBS_IN_STOCK = 12
BETWEEN = 6
"""Jobs that have to end between two promotions."""
CLOCKS_S = 0.05
"""A job's times are noted by the worker, a promotion's by the test."""
NAME = "espcn-x2"


class Production:
    """A folder of checkpoints, and which version was in production from when on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._since_s: list[tuple[float, int]] = []

    def promote(self, version: int, *, broken: bool = False) -> None:
        """Publish a version and put it in production."""
        publish(self.folder, version=version)
        if broken:
            weights = self.folder / NAME / str(version) / "model.safetensors"
            weights.write_bytes(weights.read_bytes()[:-100])
        with aliases.locked(self.folder):
            table = aliases.read(self.folder)
            alias = table[NAME].promoted(version) if NAME in table else Alias(version)
            aliases.write(self.folder, {**table, NAME: alias})
        if not broken:  # whoever asks for it is still given the one before
            self._since_s.append((time.time(), version))

    def between(self, from_s: float, to_s: float) -> set[str]:
        """The versions that were served at some moment between two, give or take what clocks differ by."""
        ends_s = [since_s for since_s, _ in self._since_s[1:]] + [float("inf")]
        return {
            f"{NAME}@{version}"
            for (since_s, version), end_s in zip(self._since_s, ends_s, strict=True)
            if since_s <= to_s + CLOCKS_S and end_s >= from_s - CLOCKS_S
        }


def told(site: Site, fault: str) -> bool:
    """Whether a worker tells the gateway, whose /readyz repeats it, of a fault with those words."""
    return any(fault in each for worker in RqFleet(site.redis).live_workers() for each in worker.faults)


def test_no_job_fails_and_each_names_its_version(site: Site, small_picture: bytes, tmp_path: Path) -> None:
    production = Production(tmp_path / "checkpoints")
    production.promote(1)
    settings = {"ENLARGER_CHECKPOINTS": str(production.folder)}
    with site.ledger() as ledger, site.worker(environment=settings) as worker:
        worker.start_and_wait()

        def more_ended(enough: int) -> bool:
            """Keep jobs in stock until so many have ended."""
            while len(ledger.ids) - len(ledger.finals) < JOBS_IN_STOCK:
                ledger.add(site.submit(small_picture, model="espcn"))
            return len(ledger.finals) >= enough

        broken = set(range(3, SCALE.promotions + 2, 3))
        for version in range(2, SCALE.promotions + 2):
            enough = len(ledger.finals) + BETWEEN
            eventually(lambda n=enough: more_ended(n), 60.0, "jobs end")  # type: ignore[misc]
            production.promote(version, broken=version in broken)
            if version in broken:
                fault = f"{NAME}@{version - 1} is served instead"
                eventually(lambda n=enough, f=fault: more_ended(n) and told(site, f), 60.0, fault)  # type: ignore[misc]
        eventually(lambda: more_ended(enough) and not told(site, ""), 60.0, "no fault is left")
        enough = len(ledger.finals) + JOBS_IN_STOCK + BETWEEN
        eventually(lambda: more_ended(enough), 60.0, "jobs end")
        ledger.wait_until_ended()
        assert ledger.counts() == {JobStatus.SUCCEEDED: len(ledger.ids)}
        versions = set()
        for record in ledger.finals.values():
            assert record.result is not None
            assert record.started_at is not None
            assert record.ended_at is not None
            assert record.result.checkpoint in production.between(record.started_at, record.ended_at)
            versions.add(record.result.checkpoint)
        assert versions == {f"{NAME}@{v}" for v in range(1, SCALE.promotions + 2) if v not in broken}
        for version in broken:
            assert f"{NAME}@{version - 1} is served instead" in worker.log
        assert worker.log.count("ready on") == 1
