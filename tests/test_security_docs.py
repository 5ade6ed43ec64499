"""SECURITY.md: its blocks run, in order, as one program; and the tests that it names are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from tests.test_readme import blocks
from tiercache import KeyRing
from tiercache.objectstore import mirror

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "SECURITY.md"
TEXT = PAGE.read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)?::(\w+)`")


def named_tests() -> list[tuple[str, str]]:
    """Each test that the page names; `::name` alone is in the file named before it."""
    found, file = [], ""
    for path, name in NAMED.findall(TEXT):
        file = path or file
        found.append((file, name))
    return found


def test_the_blocks_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERCACHE_KEYS", "")  # put back afterwards
    namespace: dict[str, Any] = {"__name__": "security"}
    for block in blocks(PAGE):
        exec(compile(block, PAGE.name, "exec"), namespace)
    assert namespace["cache"].get("k") == "from before"
    assert namespace["cache"].chain.tiers[0].backend.envelope.sealed


@pytest.mark.parametrize(("file", "name"), named_tests())
def test_each_promise_names_a_test_that_is_there(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    assert name in functions


def test_every_control_has_a_test() -> None:
    table = TEXT.partition("## What the controls stop")[2].partition("##")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(rows) >= 10
    assert [row for row in rows if "tests/" not in row] == []


def test_what_is_visible_in_a_mirror_is_told() -> None:
    hidden = mirror._HIDDEN | {"model", "omitted", "tiercache-version", "key-digest", "size", "key-id"}
    for item in mirror.ITEMS.keys() - hidden:
        assert f"`{item}`" in TEXT


def test_links_hold() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / target).exists()


def test_no_example_holds_a_secret() -> None:
    assert re.findall(r"[A-Za-z0-9+/]{43}=", TEXT) == []
    assert len(KeyRing.new_secret()) == 44
