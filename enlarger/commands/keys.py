"""`enlarger keys`: who may use the service."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import click
from redis import Redis

from enlarger.data_folder import default_data_folder, socket_of
from service.keys import ApiKey, KeyStore
from service.limits import Allowance
from worker.contract.queue import QueueUnavailableError

COLUMNS = ("ID", "NAME", "CREATED", "REQUESTS/MIN", "QUEUED JOBS", "MEGAPIXELS/DAY")
TIMEOUT_S = 5.0
NAME_CHARACTERS = 100

_data = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="ENLARGER_DATA",
    help="The data folder of `enlarger up`.  [env var: ENLARGER_DATA; default: ~/.local/share/enlarger]",
)


@click.group(short_help="Create, list and revoke the service's API keys.")
def keys() -> None:
    """Create, list and revoke the service's API keys.

    They are those of the Redis that ENLARGER_REDIS_URL (or REDIS_URL) names; without it, of the `enlarger up` that runs on
    this machine.
    """


def _name(_: click.Context, __: click.Parameter, name: str) -> str:
    if not (0 < len(name) <= NAME_CHARACTERS and name.isprintable()):
        raise click.BadParameter(f"1 to {NAME_CHARACTERS} characters that can be printed")
    return name


@keys.command("create", short_help="Create a key and print it, this once.")
@click.argument("name", callback=_name)
@click.option("--requests-per-minute", type=click.IntRange(1), help="[default: the service's]")
@click.option(
    "--queued-jobs", type=click.IntRange(1), help="Jobs that wait at once.  [default: the service's]"
)
@click.option(
    "--megapixels-per-day",
    type=click.IntRange(1),
    help="Of pictures sent; an ensemble counts eight times.  [default: the service's]",
)
@_data
def create_command(
    name: str,
    requests_per_minute: int | None,
    queued_jobs: int | None,
    megapixels_per_day: int | None,
    data: Path | None,
) -> None:
    """Create a key for NAME, which may be any words, and print it: KEY=$(enlarger keys create laptop)

    The defaults are the settings ENLARGER_QUOTA_REQUESTS_PER_MINUTE, ENLARGER_QUOTA_QUEUED_JOBS and
    ENLARGER_QUOTA_MEGAPIXELS_PER_DAY of the service.
    """
    with _store(data) as store:
        key = store.create(name, Allowance(requests_per_minute, queued_jobs, megapixels_per_day))
    click.echo(key)
    click.echo("Keep it: it is shown this once. Send it as `Authorization: Bearer` or `X-API-Key`.", err=True)


@keys.command("list", short_help="List the keys, without their secrets.")
@_data
def list_command(data: Path | None) -> None:
    """The keys, the oldest first; a dash where the service's default holds."""
    with _store(data) as store:
        found = store.all()
    if not found:
        click.echo("There are no keys: create one by `enlarger keys create NAME`.", err=True)
        return
    rows = [COLUMNS, *map(_row, found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@keys.command("revoke", short_help="Let a key open nothing from now on.")
@click.argument("key_id", metavar="ID")
@_data
def revoke_command(key_id: str, data: Path | None) -> None:
    """Let the key with that ID open nothing from now on. Its jobs stay until their time is over, and nobody else sees them."""
    with _store(data) as store:
        if not store.revoke(key_id):
            raise click.ClickException(f"there is no key {key_id!r}: `enlarger keys list` shows the ids")
        if not store.any():
            click.echo(
                "That was the last key: a service that listens on a loopback address is open again, "
                "unless ENLARGER_AUTH=required.",
                err=True,
            )


def _row(key: ApiKey) -> tuple[str, ...]:
    created = datetime.fromtimestamp(key.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    limits = (key.allowance.requests_per_minute, key.allowance.queued_jobs, key.allowance.megapixels_per_day)
    return (key.id, key.name, created, *("-" if limit is None else str(limit) for limit in limits))


@contextmanager
def _store(data: Path | None) -> Iterator[KeyStore]:
    url = os.environ.get("ENLARGER_REDIS_URL") or os.environ.get("REDIS_URL")
    if url:
        fix = "check that it runs and that ENLARGER_REDIS_URL is right"
    else:
        socket = socket_of(data or default_data_folder())
        url = f"unix://{quote(str(socket))}"
        fix = (
            f"no `enlarger up` runs in {socket.parent}: start it, name its --data, or set ENLARGER_REDIS_URL"
        )
    try:
        redis = Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)
    except ValueError as error:
        raise click.ClickException(f"ENLARGER_REDIS_URL is not the URL of a Redis: {error}") from error
    with redis:
        try:
            yield KeyStore(redis)
        except QueueUnavailableError as error:
            raise click.ClickException(f"Redis does not answer ({error}): {fix}") from error
