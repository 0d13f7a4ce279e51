"""`make bench`: what the service costs above the bare network, as ratios measured in one run.

Absolute figures depend on the machine and on who shares it; a ratio of two things
measured in turn, several times, does not. Prints a table and writes a result file.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import replace

# As the worker does, and for the same reason.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import click
import torch

from tests.benchmarks import machine, results
from tests.benchmarks.arithmetic import arithmetic
from tests.benchmarks.bookkeeping import bookkeeping
from tests.benchmarks.encoders import encoders
from tests.benchmarks.figures import Figure
from tests.benchmarks.latency import latency
from tests.benchmarks.mixed_sizes import mixed_sizes
from tests.benchmarks.plan import QUICK, Plan
from tests.benchmarks.site import Site, site
from tests.benchmarks.submission import submission
from tests.benchmarks.throughput import small_network, worker_throughput
from worker.device import choose_device, choose_threads

FIGURES: dict[str, Callable[[Site, Plan], list[Figure]]] = {
    "bookkeeping": bookkeeping,
    "submission": submission,
    "encoders": encoders,
    "small-network": small_network,
    "latency": latency,
    "mixed-sizes": mixed_sizes,
    "arithmetic": arithmetic,
    "throughput": worker_throughput,
}
"""The quick ones first."""


@click.command()
@click.option(
    "--figure", "names", multiple=True, type=click.Choice(list(FIGURES)), help="Only this one; repeatable."
)
@click.option("--model", default=Plan.model, show_default=True, help="Of the mixed sizes and the latency.")
@click.option("--runs", type=click.IntRange(min=1), help="How often each figure is measured.")
@click.option(
    "--pictures", type=click.IntRange(min=1), help="Jobs in one run of throughput and small-network."
)
@click.option("--device", default="auto", show_default=True, help="As ENLARGER_DEVICE.")
@click.option("--quick", is_flag=True, help="Small numbers, to see that it works; no result file.")
@click.option("--write/--no-write", default=True, show_default=True, help="Write a result file to results/.")
def main(
    names: tuple[str, ...],
    model: str,
    runs: int | None,
    pictures: int | None,
    device: str,
    quick: bool,
    write: bool,
) -> None:
    """Measure, print, and write the result file. Bars are for two CPU cores or one GPU."""
    plan = replace(QUICK if quick else Plan(), model=model)
    plan = replace(plan, runs=runs or plan.runs, pictures=pictures or plan.pictures)
    device = choose_device(device)
    load_average = os.getloadavg()  # before anything here adds to it
    if device == "cpu":
        torch.set_num_threads(choose_threads())  # as the worker does
    circumstances = results.Circumstances(
        command=" ".join(["python -m tests.benchmarks", *sys.argv[1:]]),
        plan=plan,
        machine={**machine.description(device), "load_average": load_average},
    )
    figures: list[Figure] = []
    with site(device) as ours:
        for name in names or FIGURES:
            click.echo(f"{name} …", err=True)
            for figure in FIGURES[name](ours, plan):
                figures.append(figure)
                click.echo(figure)
    if write and not quick:
        click.echo(f"wrote {results.write(circumstances, figures)}")


if __name__ == "__main__":
    main()
