"""`enlarger up`."""

import asyncio
import logging
import os
from pathlib import Path

import click

from enlarger.data_folder import DataFolderError, default_data_folder, locked_data_folder
from enlarger.devices import worker_devices
from enlarger.stack import Address, PortInUseError, RedisUnreachableError, Stack
from enlarger.supervisor import ProgramFailedError


@click.command(short_help="Run the whole service on this machine.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="ENLARGER_DATA",
    help="Folder for the queue and the pictures.  [env var: ENLARGER_DATA; default: ~/.local/share/enlarger]",
)
@click.option(
    "--devices",
    default="auto",
    show_default=True,
    help="What to enlarge on: cpu, or cuda:0,cuda:1; auto is every GPU, or else the CPU.",
)
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(1), help="Worker processes on each device."
)
def up(host: str, port: int, data: Path | None, devices: str, workers: int) -> None:
    """Run the whole service on this machine: queue, gateway and workers.

    With ENLARGER_REDIS_URL (or REDIS_URL) set, the queue is that Redis; without it a Valkey of its own
    is started, which keeps the queue in the data folder. Ctrl-C stops: running jobs are finished, waiting
    ones go on at the next start.
    """
    logging.basicConfig(format="enlarger | %(message)s", level=logging.INFO)
    address = Address(host, port)
    redis_url = os.environ.get("ENLARGER_REDIS_URL") or os.environ.get("REDIS_URL")
    try:
        holder = f"`enlarger up` at {address.url} (process {os.getpid()})"
        with locked_data_folder(data or default_data_folder(), holder) as folder:
            address.check_free()
            stack = Stack(
                address,
                folder,
                devices=worker_devices(devices, workers, os.environ),
                redis_url=redis_url,
                environment=os.environ,
                on_ready=lambda: click.echo(WELCOME.format(url=address.url)),
            )
            asyncio.run(stack.run())
    except (DataFolderError, PortInUseError, ProgramFailedError, RedisUnreachableError) as error:
        raise click.ClickException(str(error)) from error


WELCOME = """
Enlarger is ready at {url}

  curl -i -F image=@photo.jpg -F scale=4 {url}/upscale

Ctrl-C stops it.
"""
