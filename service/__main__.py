"""Run the gateway: `python -m service`."""

import logging

import uvicorn

from service.settings import ServerSettings

HEALTH_PATHS = {"/healthz", "/readyz"}


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Whoever asks how the service is asks often: those lines would bury the others.
    logging.getLogger("uvicorn.access").addFilter(
        lambda record: not HEALTH_PATHS & set(map(str, record.args or ()))
    )
    settings = ServerSettings()
    uvicorn.run(
        "service.app:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        server_header=False,
        timeout_graceful_shutdown=settings.graceful_shutdown_s,
    )


if __name__ == "__main__":
    main()
