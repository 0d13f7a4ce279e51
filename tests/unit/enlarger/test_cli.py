import subprocess
import sys
from importlib.metadata import version

import pytest
from click.testing import CliRunner

import enlarger
from enlarger.cli import SUBCOMMANDS, main


def test_every_subcommand_shows_its_help() -> None:
    for name, subcommand in SUBCOMMANDS.items():
        shown = CliRunner().invoke(main, [name, "--help"])
        assert shown.exit_code == 0, shown.output
        assert subcommand.summary.rstrip(".") in shown.output


def test_the_list_names_every_subcommand() -> None:
    shown = CliRunner().invoke(main, ["--help"]).output
    assert all(name in shown and subcommand.summary in shown for name, subcommand in SUBCOMMANDS.items())


def test_an_unknown_subcommand_is_a_usage_error() -> None:
    shown = CliRunner().invoke(main, ["down"])
    assert shown.exit_code == 2
    assert "No such command 'down'" in shown.output


def test_the_version_is_the_distributions() -> None:
    assert version("enlarger") in CliRunner().invoke(main, ["--version"]).output


@pytest.mark.parametrize("arguments", [["--help"], ["up", "--help"], ["keys", "--help"], ["models"]])
def test_torch_is_not_loaded_where_it_is_not_needed(arguments: list[str]) -> None:
    program = (
        "import sys, enlarger\n"
        "from enlarger.cli import main\n"
        f"main({arguments!r}, standalone_mode=False)\n"
        "assert 'torch' not in sys.modules and 'enlarger.local' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'downscale'"):
        _ = enlarger.downscale
