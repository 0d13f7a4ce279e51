"""The logs of every process: one line a record, with the id of the job that it is about.

On the standard library alone. With structlog we would still need its ProcessorFormatter, a chain of processors for the
records of uvicorn, RQ and torch, and escapes of our own for the text format: more code than the two formatters below.

Nobody can forge a line. As text, control characters are escaped and a stack trace is indented; as JSON, a record is one object.
"""

import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import TextIO

logger = logging.getLogger(__name__)

_job: ContextVar[str] = ContextVar("job", default="")

# C0, DEL and C1, which terminals obey, and the line separators of Unicode, which readers of lines do.
_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\t",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


class LogFormat(StrEnum):
    """How a record is written."""

    TEXT = "text"
    """For people: time, level, logger, the job's id in brackets, message."""
    JSON = "json"
    """For programs: one object a line."""


@contextmanager
def job_in_log(*job_ids: str) -> Iterator[None]:
    """Within it, every record of this thread or task names the job; several, where one pass serves several.

    A thread does not inherit it: whatever works on a job on another thread says so there.
    """
    token = _job.set(_joined(job_ids))
    try:
        yield
    finally:
        _job.reset(token)


def note_job(job_id: str) -> None:
    """As :func:`job_in_log`, to the end of the task: for a request, whose access log is written after its handler."""
    _job.set(job_id)


def current_job() -> str:
    """The id, or the ids with spaces between, that records are given now; empty where there is none."""
    return _job.get()


def add_job(record: logging.LogRecord) -> bool:
    """A filter that lets every record pass, with the current job's id as `job_id`."""
    record.job_id = _job.get()
    return True


def configure_logging(log_format: LogFormat, level: int = logging.INFO) -> None:
    """Send what this process logs to stderr: our records, those of libraries, warnings, and what nobody caught.

    Call it once, after the libraries are imported: torch's loggers come with handlers of their own, which are taken away.
    uvicorn sets up its own at every start, unless it is run with `log_config=None`.
    """
    handler = log_handler(log_format)
    for library in logging.root.manager.loggerDict.values():
        if isinstance(library, logging.Logger):
            _send_to_root(library)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def log_handler(log_format: LogFormat) -> "logging.StreamHandler[TextIO]":
    """What writes records in that format to stderr."""
    handler: logging.StreamHandler[TextIO] = logging.StreamHandler()
    handler.addFilter(add_job)
    handler.setFormatter(JsonFormatter() if log_format is LogFormat.JSON else TextFormatter())
    return handler


class TextFormatter(logging.Formatter):
    """`2026-11-21 09:30:00,125 INFO worker [3f2a]: started`; a stack trace follows, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, and the lines of its stack trace."""
        job_id = getattr(record, "job_id", "")
        job = f" [{_escaped(job_id)}]" if job_id else ""
        head = f"{self.formatTime(record)} {record.levelname} {record.name}{job}: "
        trace = _trace(self, record)
        # Cut at "\n" alone, as a terminal does: another separator stays within its line, escaped.
        return "\n    ".join([head + _escaped(record.getMessage().rstrip("\n")), *map(_escaped, trace)])


class JsonFormatter(logging.Formatter):
    """`{"timestamp": "2026-11-21T08:30:00.125000Z", "level": "INFO", "logger": "worker", "message": "started", "job_id": "3f2a"}`."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one object in ASCII; `job_id` and `exception` only where there is one."""
        moment = datetime.fromtimestamp(record.created, UTC)
        fields = {
            "timestamp": moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "job_id": getattr(record, "job_id", ""),
            "exception": "\n".join(_trace(self, record)),
        }
        return json.dumps({name: value for name, value in fields.items() if value or name == "message"})


def _joined(job_ids: tuple[str, ...]) -> str:
    return " ".join(dict.fromkeys(filter(None, job_ids)))


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    parts = [formatter.formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
    parts += [formatter.formatStack(record.stack_info)] if record.stack_info else []
    return [line for part in parts for line in part.split("\n")]


def _send_to_root(library: logging.Logger) -> None:
    """Only what writes to a terminal: torch also has handlers that write to files, or nowhere on purpose."""
    to_terminal = [
        handler
        for handler in library.handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream in (sys.stderr, sys.stdout)
    ]
    for handler in to_terminal:
        library.removeHandler(handler)
        library.propagate = True


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        logger.critical("the process ends: nobody caught this", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    error = arguments.exc_value
    if error is not None and not isinstance(error, SystemExit):
        name = arguments.thread.name if arguments.thread else "unknown"
        logger.critical("the thread %s ends: nobody caught this", name, exc_info=error)
