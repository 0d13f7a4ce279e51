"""SIGINT and SIGTERM as a request to stop after the step at hand, not as a traceback in the middle of it."""

import signal
from types import FrameType, TracebackType
from typing import Self


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
