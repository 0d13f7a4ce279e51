"""How much of each scenario runs: the short form as part of `make test`, the full one by `make chaos`."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """The numbers of one form; the code is the same."""

    stops: int
    """SIGTERMs under load."""
    kills: int
    """SIGKILLs of one of two workers."""
    restarts: int
    """SIGKILLs of Valkey."""
    storage_faults: int
    """Jobs that meet each kind of fault of the blob store."""
    fellows: int
    """Jobs beside a poisoned one."""
    mixed_jobs: int
    """Pictures of all kinds; the worker's memory is measured after a fifth of them and at the end."""
    large_pictures: int
    """Of 12 megapixels, among them."""
    memory_growth: float
    """The most by which the worker's memory may grow between the two; fewer jobs leave more for later to meet first."""
    promotions: int
    """Under load."""


SHORT = Scale(
    stops=1,
    kills=1,
    restarts=1,
    storage_faults=1,
    fellows=16,
    mixed_jobs=150,
    large_pictures=0,
    memory_growth=1.20,  # seen: 1.08 to 1.13; a megabyte lost with each job would be 1.4
    promotions=3,
)
FULL = Scale(
    stops=5,
    kills=10,
    restarts=5,
    storage_faults=8,
    fellows=30,
    mixed_jobs=1000,
    large_pictures=2,
    memory_growth=1.10,
    promotions=12,
)

SCALE = FULL if os.environ.get("ENLARGER_CHAOS") == "full" else SHORT
"""The form of this run: ENLARGER_CHAOS=full asks for the full one."""

SEED = int(os.environ.get("ENLARGER_CHAOS_SEED", os.getpid()))
"""Of every random moment; printed where a test fails, to run it again with."""
