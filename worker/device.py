"""The device that networks run on."""

import torch


class DeviceUnavailableError(ValueError):
    """That device is not on this machine: use auto, cpu, cuda, cuda:N or mps."""


def choose_device(name: str) -> str:
    """`auto` is the first GPU, or else the CPU; any other name is checked. Raises DeviceUnavailableError.

    >>> choose_device("cpu")
    'cpu'
    """
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise DeviceUnavailableError(f"{name}: {str(error).splitlines()[0]}") from error
    return name
