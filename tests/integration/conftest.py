"""What the tests of whole workers share."""

import pytest

from tests.gated_processor import GatedProcessor


@pytest.fixture
def processor() -> GatedProcessor:
    """Ends each job when a test says how."""
    return GatedProcessor()
