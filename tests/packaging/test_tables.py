"""The tables of the documentation say what the code does, and the check of them finds what it is there to find."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "tables.py"


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    spec = importlib.util.spec_from_file_location("tables", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def page(tables: ModuleType, tmp_path: Path) -> Path:
    """A page in a tree of its own, whose code makes one table."""
    tables.ROOT = tmp_path
    tables.TABLES.clear()
    tables.table("answers")(lambda: tables.markdown(["question", "answer"], [["all", "42"]]))
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("no tables\n")
    return tmp_path / "docs" / "page.md"


def test_the_documentation_says_what_the_code_does(tables):
    assert list(tables.faults()) == []


def test_a_table_is_written_between_its_marks_and_nothing_else_is_touched(tables, page):
    text = "before\n<!-- table: answers -->\nold\n<!-- end -->\nafter\n"
    page.write_text(tables.written(text))
    assert page.read_text() == (
        "before\n<!-- table: answers -->\n| question | answer |\n| --- | --- |\n| all | 42 |\n<!-- end -->\nafter\n"
    )
    assert list(tables.faults()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<!-- table: answers -->\n| 41 |\n<!-- end -->\n", "a table differs from the code; run scripts/tables.py"),
        ("<!-- table: questions -->\n<!-- end -->\n", "no function makes questions"),
        ("<!-- table: answers -->\n", "has no `<!-- end -->`"),
        ("nothing\n", "no page shows the table answers"),
    ],
)
def test_what_is_wrong_is_found(tables, page, text, said):
    page.write_text(text)
    assert any(said in fault for fault in tables.faults())
