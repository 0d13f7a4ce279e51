"""The command `enlarger`. A subcommand's module is imported when it is called: only some need torch."""

import os
from importlib import import_module
from typing import NamedTuple

import click


class Subcommand(NamedTuple):
    """Where a subcommand is and what the list of commands says of it."""

    module: str
    """The module that defines a click command of the subcommand's name."""
    summary: str
    """One line."""


SUBCOMMANDS = {
    "image": Subcommand("enlarger.commands.image", "Enlarge pictures here, without a server."),
    "keys": Subcommand("enlarger.commands.keys", "Create, list and revoke the service's API keys."),
    "models": Subcommand("enlarger.commands.models", "List, check and promote the published models."),
    "up": Subcommand("enlarger.commands.up", "Run the whole service on this machine."),
}


class LazyGroup(click.Group):
    """A group that imports a subcommand only to run it or to show its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, sorted."""
        return sorted(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the subcommand; None if there is none of that name."""
        if cmd_name not in SUBCOMMANDS:
            return None
        # See worker/__main__.py: before torch is imported, so that its threads do not spin.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        command = getattr(import_module(SUBCOMMANDS[cmd_name].module), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Click's own would import every subcommand for its summary."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, SUBCOMMANDS[name].summary) for name in self.list_commands(ctx)])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="enlarger")
def main() -> None:
    """Enlarge pictures 2, 3 or 4 times, sharply."""
