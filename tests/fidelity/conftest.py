"""The way of a picture through decoder, network and encoder, as every test here goes it."""

from collections.abc import Iterator

import pytest

from tests.fidelity.enlarging import Enlarge
from worker.pipeline import Pipeline


@pytest.fixture(scope="session")
def enlarge() -> Iterator[Enlarge]:
    with Pipeline() as pipeline:
        yield Enlarge(pipeline)
