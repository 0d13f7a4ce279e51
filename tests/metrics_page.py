"""What `docs/metrics.md` says that there is, and what a scrape shows, in one form to compare."""

import re
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([^|]+) \| [^|]+ \| ([^|]+) \| [^|]+ \|$", re.MULTILINE)
NAME = re.compile(r"\b(?:enlarger|process)_\w+")


@dataclass(frozen=True)
class ShownMetric:
    """A metric by what a reader of the page is to know of it."""

    name: str
    type: str
    labels: frozenset[str]
    meaning: str


def documented(*sections: str) -> set[ShownMetric]:
    """The metrics of those sections' tables."""
    chapters = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.M | re.S))
    return {
        ShownMetric(name, kind, frozenset(re.findall(r"`(\w+)`", labels)), meaning)
        for section in sections
        for name, kind, labels, meaning in ROW.findall(chapters[section])
    }


def exported(exposition: str) -> set[ShownMetric]:
    """The metrics of a scrape in Prometheus' text format. One without a sample shows no labels."""
    return {
        ShownMetric(
            f"{family.name}_total" if family.type == "counter" else family.name,
            family.type,
            frozenset(label for sample in family.samples for label in sample.labels) - {"le"},
            family.documentation,
        )
        for family in text_string_to_metric_families(exposition)
        if not family.name.endswith("_created")
    }


def names_in_use() -> set[str]:
    """Every name of a metric or of its samples anywhere on the page, as in its queries."""
    return set(NAME.findall(PAGE.read_text("utf-8")))


def sample_names(shown: set[ShownMetric]) -> set[str]:
    """What may stand in a query for those metrics."""
    parts = ("_bucket", "_sum", "_count")
    return {m.name for m in shown} | {m.name + part for m in shown if m.type == "histogram" for part in parts}
