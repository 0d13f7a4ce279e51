import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_document_is_made_of_the_settings() -> None:
    spec = importlib.util.spec_from_file_location("settings_tables", DOCS / "settings_tables.py")
    assert spec
    assert spec.loader
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    assert (DOCS / "settings.md").read_text("utf-8") == tables.document(), (
        "run: python docs/settings_tables.py"
    )
    assert " |  |\n" not in tables.document(), "a setting that says nothing of itself"
