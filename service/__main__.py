"""Run the gateway: `python -m service`."""

import logging
import multiprocessing
import os
import signal
from contextlib import nullcontext
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from tempfile import TemporaryDirectory
from threading import Thread

import uvicorn
from fastapi import FastAPI

from service.app import create_app
from service.metrics import SHARED_FOLDER
from service.settings import ServerSettings
from worker.contract.logs import configure_logging

HEALTH_PATHS = {"/healthz", "/readyz", "/metrics"}


def worth_noting(record: logging.LogRecord) -> bool:
    """A filter of uvicorn's access log, whose records' third argument is the path with its query."""
    if isinstance(record.args, tuple) and len(record.args) > 2:
        client, method, path, *rest = record.args
        path = str(path).partition("?")[0]  # a query may hold a webhook's URL, and that a secret
        record.args = (client, method, path, *rest)
        # Whoever asks how the service is asks often: those lines would bury the others.
        return path not in HEALTH_PATHS
    return True


def served_app() -> FastAPI:
    """The app, in each process that serves it."""
    if parent := multiprocessing.parent_process():
        _configure_logging(ServerSettings())
        Thread(target=_end_with, args=(parent,), daemon=True).start()
    return create_app()


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = ServerSettings()
    _configure_logging(settings)
    several = settings.gateway_processes > 1
    with TemporaryDirectory(prefix="enlarger-metrics-") if several else nullcontext() as folder:
        if folder:
            os.environ[SHARED_FOLDER] = folder
        uvicorn.run(
            "service.__main__:served_app",
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=settings.gateway_processes,
            server_header=False,
            timeout_graceful_shutdown=settings.graceful_shutdown_s,
            log_config=None,
        )


def _configure_logging(settings: ServerSettings) -> None:
    configure_logging(settings.log_format)
    logging.getLogger("uvicorn.access").addFilter(worth_noting)


def _end_with(parent: BaseProcess) -> None:
    """Ask this process to stop once the one that started it is gone: it would hold the port for ever."""
    wait([parent.sentinel])
    signal.raise_signal(signal.SIGTERM)


if __name__ == "__main__":
    main()
