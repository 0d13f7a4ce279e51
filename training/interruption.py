"""SIGINT and SIGTERM as a request to stop after the step at hand, not as a traceback in the middle of it."""

import signal
from types import FrameType, TracebackType
from typing import Self

import torch
from accelerate import Accelerator


class Interruption:
    """A context in which both signals only set :attr:`requested`. A second signal ends the process at once."""

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> Self:
        self._handlers = {s: signal.signal(s, self._request) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)


def stop_requested(interruption: Interruption, accelerator: Accelerator) -> bool:
    """Whether this process was told to stop, or any that it trains with: they have to end after the same step."""
    if accelerator.num_processes == 1:
        return interruption.requested
    told = torch.tensor(int(interruption.requested), device=accelerator.device)
    return bool(accelerator.reduce(told, "sum").item())
