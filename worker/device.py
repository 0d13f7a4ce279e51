"""The devices that networks run on, and how to use one well.

`python -m worker.device` prints what this machine has, a device a line: whoever starts a worker for each need not import torch.
"""

import logging
import os
import time
from collections.abc import Callable, Sequence
from enum import StrEnum

import torch

logger = logging.getLogger(__name__)

WORTHWHILE = 1.05
"""More threads are taken where they make a pass so much faster: they are others' too."""


class DeviceUnavailableError(ValueError):
    """That device is not on this machine: use auto, cpu, cuda, cuda:N or mps."""


class Precision(StrEnum):
    """What a network computes with. Whatever is no number then is made again in float32."""

    AUTO = "auto"
    """bfloat16 on GPUs and CPUs that have units for it, float32 elsewhere."""
    FLOAT32 = "float32"
    """24 bits of mantissa."""
    BFLOAT16 = "bfloat16"
    """8 bits of mantissa, float32's range."""
    FLOAT16 = "float16"
    """11 bits of mantissa, up to 65,504."""


def devices() -> list[str]:
    """Every device that should have a worker: each GPU, or else the CPU."""
    if torch.cuda.is_available():
        return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return ["mps"] if torch.backends.mps.is_available() else ["cpu"]


def choose_device(name: str) -> str:
    """`auto` is the first of :func:`devices`; any other name is checked. Raises DeviceUnavailableError.

    >>> choose_device("cpu")
    'cpu'
    """
    if name == "auto":
        return devices()[0]
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise DeviceUnavailableError(f"{name}: {str(error).splitlines()[0]}") from error
    return name


def choose_dtype(precision: Precision, device: str) -> torch.dtype:
    """What networks compute with on the device.

    >>> choose_dtype(Precision.FLOAT16, "cpu")
    torch.float16
    """
    if precision is not Precision.AUTO:
        return {
            Precision.FLOAT32: torch.float32,
            Precision.BFLOAT16: torch.bfloat16,
            Precision.FLOAT16: torch.float16,
        }[precision]
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    # Without AMX a CPU gains nothing by it: a convolution took 22 ms against 16 on AVX-512 (docs/decisions/0005).
    return torch.bfloat16 if device == "cpu" and torch.cpu._is_amx_tile_supported() else torch.float32


def choose_threads(
    seconds_with: "Callable[[int], float] | None" = None, counts: Sequence[int] | None = None
) -> int:
    """How many threads a pass on the CPU should have: the fewest that are within 5 % of the fastest.

    Not simply one for each core: a container's share of the CPU may be less, two hardware threads of one core are hardly faster
    than one, and other workers may have their part. `counts` are powers of two up to the cores that this process may use.

    >>> choose_threads({1: 8.0, 2: 4.1, 4: 2.2, 8: 2.15}.__getitem__, counts=(1, 2, 4, 8))
    4
    """
    if counts is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        counts = sorted({2**power for power in range(cores.bit_length())} | {cores})
    times_s = {count: (seconds_with or _seconds_with)(count) for count in counts}
    fastest_s = min(times_s.values())
    chosen = next(count for count in counts if times_s[count] <= fastest_s * WORTHWHILE)
    logger.info(
        "%d threads: %s",
        chosen,
        ", ".join(f"{count}: {took * 1000:.1f} ms" for count, took in times_s.items()),
    )
    return chosen


@torch.inference_mode()
def _seconds_with(threads: int) -> float:
    """A convolution as most networks have them, the fastest of several: what others do to the machine only ever slows one down."""
    torch.set_num_threads(threads)
    layer = torch.nn.Conv2d(64, 64, 3, padding=1)
    tile_NCHW = torch.zeros(1, 64, 128, 128).contiguous(memory_format=torch.channels_last)
    times_s = []
    for _ in range(8):
        started_s = time.perf_counter()
        layer(tile_NCHW)
        times_s.append(time.perf_counter() - started_s)
    return min(times_s)


if __name__ == "__main__":
    print("\n".join(devices()))
