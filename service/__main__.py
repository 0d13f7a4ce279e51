"""Run the gateway: `python -m service`."""

import logging

import uvicorn

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


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    settings = ServerSettings()
    configure_logging(settings.log_format)
    logging.getLogger("uvicorn.access").addFilter(worth_noting)
    uvicorn.run(
        "service.app:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        server_header=False,
        timeout_graceful_shutdown=settings.graceful_shutdown_s,
        log_config=None,
    )


if __name__ == "__main__":
    main()
