"""The command line: `python -m training run`, `evaluate`, `release`, `export` and `fetch`."""

import os

# See worker/__main__.py: before torch is imported, so that its threads do not spin.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import click

from training.evaluate_command import evaluate_command
from training.export_command import export_command
from training.fetch import fetch
from training.release_command import release_bicubic_command, release_command
from training.run_command import run_command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Train networks, score them, and release versions of checkpoints."""


main.add_command(run_command)
main.add_command(evaluate_command)
main.add_command(release_command)
main.add_command(release_bicubic_command)
main.add_command(export_command)
main.add_command(fetch)


if __name__ == "__main__":
    main(prog_name="python -m training")
