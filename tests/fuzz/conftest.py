"""The running service that is to be broken, and how hard it is tried."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stack import RunningStack, running_stack

FULL = os.environ.get("ENLARGER_FUZZ") == "full"
"""By `make fuzz`; a short form is part of `make test`."""


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[RunningStack]:
    """The whole service with a worker, so that what is accepted also ends."""
    with running_stack(tmp_path / "data") as stack:
        yield stack
