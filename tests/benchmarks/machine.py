"""What the figures were measured on."""

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from worker.device import Precision, choose_dtype

FLAGS_THAT_MATTER = re.compile(r"(avx2|fma|avx512|avx_vnni|amx|sve|asimd)\w*")
PACKAGES = ("torch", "numpy", "pillow", "isal", "redis", "rq")


def description(device: str) -> dict[str, Any]:
    """The machine, and how torch uses it."""
    lines = _processor_lines()
    flags = lines.get("flags", lines.get("Features", "")).split()
    described: dict[str, Any] = {
        "processor": lines.get("model name") or platform.processor() or platform.machine(),
        "flags": sorted(flag for flag in flags if FLAGS_THAT_MATTER.fullmatch(flag)),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "device": device,
        "precision": str(choose_dtype(Precision.AUTO, device)).removeprefix("torch."),
        "torch_threads": torch.get_num_threads(),
        "torch_cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }
    if torch.device(device).type == "cuda":
        described["gpu"] = torch.cuda.get_device_name(device)
    return described


def versions() -> dict[str, str]:
    """Of what the figures depend on."""
    return {"python": platform.python_version(), **{package: version(package) for package in PACKAGES}}


def commit() -> str:
    """The checkout's, with `-dirty` where files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*", "--abbrev=40"]
    return subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    ).stdout.strip()


def _processor_lines() -> dict[str, str]:
    """What Linux says of the first processor; nothing elsewhere."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    first = path.read_text().split("\n\n")[0]
    return {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())
    }
