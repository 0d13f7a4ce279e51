import json
import multiprocessing
from pathlib import Path

import pytest

from sr_models import aliases
from sr_models.aliases import ALIASES_FILE, Alias, AliasesError

WRITERS = 4
ENTRIES = 25


def test_what_was_written_is_read(tmp_path: Path) -> None:
    table = {"espcn-x4": Alias(2, (1,)), "bicubic-x2": Alias(1)}
    aliases.write(tmp_path, table)
    assert aliases.read(tmp_path) == table
    assert json.loads((tmp_path / ALIASES_FILE).read_text())["espcn-x4"] == {"production": 2, "previous": [1]}


def test_an_entry_without_history_is_read(tmp_path: Path) -> None:
    (tmp_path / ALIASES_FILE).write_text('{"espcn-x4": {"production": 3}}')
    assert aliases.read(tmp_path) == {"espcn-x4": Alias(3)}


def test_no_table_is_an_empty_one(tmp_path: Path) -> None:
    assert aliases.read(tmp_path) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"espcn-x4": 1}',
        '{"espcn-x4": {}}',
        '{"espcn-x4": {"production": "2"}}',
        '{"espcn-x4": {"production": 0}}',
        '{"espcn-x4": {"production": true}}',
        '{"espcn-x4": {"production": 2, "previous": 1}}',
        '{"espcn-x4": {"production": 2, "previous": [null]}}',
        '{"espcn-x4": {"production": 2, "staging": 3}}',
        '{"espcn-x4": ' + "[" * 100_000,
        '{"espcn-x4": {"production": NaN}}',
        "\xff",
    ],
)
def test_anything_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / ALIASES_FILE).write_text(text)
    with pytest.raises(AliasesError, match="is not an alias table"):
        aliases.read(tmp_path)


def test_history_goes_forth_and_back() -> None:
    alias = Alias(1).promoted(3).promoted(2)
    assert alias == Alias(2, (1, 3))
    assert alias.rolled_back() == Alias(3, (1,))
    with pytest.raises(IndexError):
        Alias(1).rolled_back()


def test_a_table_that_cannot_be_written_stays(tmp_path: Path) -> None:
    (tmp_path / ALIASES_FILE).mkdir()
    with pytest.raises(AliasesError, match="cannot be written and stays as it was"):
        aliases.write(tmp_path, {"espcn-x4": Alias(1)})
    assert [path.name for path in tmp_path.iterdir()] == [ALIASES_FILE]


def test_a_folder_that_is_missing_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(AliasesError, match="nothing was changed"), aliases.locked(tmp_path / "missing"):
        pass


def add_entries(folder: Path, writer: int) -> None:
    for number in range(ENTRIES):
        with aliases.locked(folder):
            table = aliases.read(folder)
            table[f"writer-{writer}-x{number}"] = Alias(1)
            aliases.write(folder, table)


def test_no_change_of_several_processes_is_lost(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=add_entries, args=(tmp_path, writer)) for writer in range(WRITERS)]
    for process in writers:
        process.start()
    while any(process.is_alive() for process in writers):
        aliases.read(tmp_path)  # whole at any time
    assert [process.exitcode for process in writers] == [0] * WRITERS
    assert len(aliases.read(tmp_path)) == WRITERS * ENTRIES
