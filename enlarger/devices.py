"""Which device each worker of the stack has."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

AUTO = "auto"


def worker_devices(asked: str, workers: int, environment: Mapping[str, str]) -> list[str]:
    """A worker's ENLARGER_DEVICE for each worker: `workers` on each of the devices that were asked for.

    `auto` is every GPU, or else what a worker chooses by itself; ENLARGER_DEVICE, where it is set, says it instead.

    >>> worker_devices("cuda:0, cuda:1", 2, {})
    ['cuda:0', 'cuda:1', 'cuda:0', 'cuda:1']
    >>> worker_devices("auto", 1, {"ENLARGER_DEVICE": "cpu"})
    ['cpu']
    """
    names = [name.strip() for name in asked.split(",") if name.strip()]
    if names in ([], [AUTO]):
        given = environment.get("ENLARGER_DEVICE", AUTO)
        names = [given] if given != AUTO else _gpus(environment) or [AUTO]
    return names * workers


def _gpus(environment: Mapping[str, str]) -> list[str]:
    """Several GPUs of NVIDIA's, as torch counts them, which takes a process of its own: importing torch takes seconds and memory.

    Nothing where there is at most one.
    """
    if len(list(Path("/dev").glob("nvidia[0-9]*"))) < 2:
        return []
    # -P: a folder `worker` in the current directory must not be taken for ours.
    command = (sys.executable, "-P", "-m", "worker.device")
    return subprocess.run(command, env=environment, capture_output=True, text=True).stdout.split()
