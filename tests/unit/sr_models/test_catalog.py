from typing import Any

import pytest

from sr_models.catalog import UnknownArchitectureError, build


def test_it_refuses_what_it_does_not_have() -> None:
    with pytest.raises(UnknownArchitectureError):
        build("transformer", {"scale": 2})


@pytest.mark.parametrize(
    ("architecture", "hyperparameters", "because"),
    [
        ("espcn", {"scale": 2, "depth": 9}, "does not take"),
        ("espcn", {"scale": "2"}, "does not take"),
        ("espcn", [2], "does not take"),
        ("edsr", {"scale": 2, "features": -3}, "does not take"),
        ("edsr", {"scale": 7.5}, "does not take"),
        ("srresnet", {"scale": 2, "features": 2**70}, "does not take"),
        ("srgan-bottleneck", {"scale": 2, "features": 30}, "multiple of 4"),
    ],
)
def test_it_refuses_what_a_network_does_not_take(
    architecture: str, hyperparameters: Any, because: str
) -> None:
    with pytest.raises(ValueError, match=because):
        build(architecture, hyperparameters)
