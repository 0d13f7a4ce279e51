import re
import socket

import pytest

from enlarger.stack import Address, PortInUseError


def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"port {port} cannot be used .* another --port"):
            Address("127.0.0.1", port).check_free()
    Address("127.0.0.1", port).check_free()


def test_a_host_that_is_not_here_is_told() -> None:
    with pytest.raises(PortInUseError, match=re.escape("203.0.113.1 port 80 cannot be used")):
        Address("203.0.113.1", 80).check_free()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("localhost", "http://localhost:8000"),
    ],
)
def test_the_url_is_one_that_this_machine_can_open(host: str, url: str) -> None:
    assert Address(host, 8000).url == url
