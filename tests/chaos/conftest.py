"""What every scenario needs."""

import sys
from pathlib import Path

import pytest

from tests.chaos.site import Site
from tests.pictures import encoded, natural_picture


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Scenarios wait for processes and leases, which take longer than other tests may."""
    for item in items:
        if Path(item.path).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(1800))
            item.add_marker(pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc"))


@pytest.fixture
def site(valkey_url: str, tmp_path: Path) -> Site:
    """An empty queue on a real Valkey, and an empty folder for pictures."""
    return Site(valkey_url, (tmp_path / "blobs").as_uri(), tmp_path)


@pytest.fixture(scope="session")
def small_picture() -> bytes:
    """Takes a few milliseconds."""
    return encoded(natural_picture(40, 30), "PNG")


@pytest.fixture(scope="session")
def large_picture() -> bytes:
    """Takes some tenths of a second at scale 4."""
    return encoded(natural_picture(320, 320), "PNG")
