"""Writes docs/settings.md from the settings themselves: python docs/settings_tables.py"""

from enum import Enum
from pathlib import Path

from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from service.settings import ServerSettings, Settings
from worker.settings import WorkerSettings

DOCUMENT = Path(__file__).parent / "settings.md"
HEAD = """# Settings

Environment variables, the same for `enlarger up`, `python -m service`, `python -m worker` and the composition (in `.env`). A value that makes no sense ends the program at its start,
and says which one it is. Where both sides have a setting, it must be the same for both. Made by `python docs/settings_tables.py`; a test keeps it true.
"""
NOT_SHOWN = {"checkpoints": "the software's own"}
"""Defaults that depend on the machine."""


def main() -> None:
    """Write the document."""
    DOCUMENT.write_text(document(), encoding="utf-8")


def document() -> str:
    """All of it, as Markdown."""
    gateway = {**Settings.model_fields, **ServerSettings.model_fields}
    parts = [
        HEAD,
        "## The gateway's\n",
        _table(Settings, gateway),
        "## A worker's\n",
        _table(WorkerSettings, WorkerSettings.model_fields),
    ]
    return "\n".join(parts)


def _table(settings: type[BaseSettings], fields: dict[str, FieldInfo]) -> str:
    prefix = settings.model_config["env_prefix"]
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in sorted(fields.items()):
        variable = (prefix + name).upper()
        if isinstance(field.validation_alias, AliasChoices):
            variable = "`, `".join(str(choice) for choice in field.validation_alias.choices)
        meaning = " ".join((field.description or "").split())
        rows.append(f"| `{variable}` | {_default(name, field)} | {meaning} |")
    return "\n".join(rows) + "\n"


def _default(name: str, field: FieldInfo) -> str:
    if name in NOT_SHOWN:
        return NOT_SHOWN[name]
    default = field.default.value if isinstance(field.default, Enum) else field.default
    match default:
        case None | ():
            return "none"
        case bool():
            return f"`{str(default).lower()}`"
    return f"`{default}`"


if __name__ == "__main__":
    main()
