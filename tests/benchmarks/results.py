"""The file that a run leaves."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.figures import Figure
from tests.benchmarks.machine import commit, versions
from tests.benchmarks.plan import Plan

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Circumstances:
    """Under what the figures come about. Made before the first is measured: load and commit may change meanwhile."""

    command: str
    plan: Plan
    machine: dict[str, Any]
    date: datetime = field(default_factory=lambda: datetime.now(UTC))
    commit: str = field(default_factory=commit)
    versions: dict[str, str] = field(default_factory=versions)


def write(circumstances: Circumstances, figures: Sequence[Figure], folder: Path = RESULTS) -> Path:
    """One file for each run; its path."""
    content = {
        **asdict(circumstances),
        "date": circumstances.date.isoformat(timespec="seconds"),
        "figures": [figure.to_json() for figure in figures],
    }
    folder.mkdir(exist_ok=True)
    device = circumstances.machine["device"].replace(":", "-")
    path = folder / f"{circumstances.date:%Y-%m-%d-%H%M}-{circumstances.machine['cores']}-cores-{device}.json"
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path
