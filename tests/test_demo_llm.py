"""`make demo-llm`, but for its model: what it asks, what it shows, and what it says where the model is missing."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.provider import FakeProvider

for needed in ("openai", "httpx2", "rich"):
    pytest.importorskip(needed)
ROOT = Path(__file__).parent.parent


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    return importlib.import_module("demo_llm")


def test_every_question_is_asked_of_the_model_once(demo: ModuleType, tmp_path: Path) -> None:
    with FakeProvider() as provider:
        rounds = list(demo.play(provider.openai, tmp_path / "cache.sqlite"))

        assert provider.calls("chat") == len(rounds) == 4
    for _, miss, memory, disk in rounds:
        assert miss.text == memory.text == disk.text != ""
        assert (miss.source, memory.source, disk.source) == ("MISS", "memory", "disk")
    assert [request.stream for request in provider.requests] == [False, True, False, True]


def test_the_table_has_a_line_for_each_answer(demo: ModuleType) -> None:
    from rich.console import Console

    answers = [demo.Answer("a", source, 0.5, 1.0 / times, 7) for source, times in (("MISS", 1), ("memory", 100))]
    output = io.StringIO()
    Console(file=output, width=120).print(demo.table([("Why?", *answers, answers[1])]))

    shown = output.getvalue()
    assert "the model (MISS)" in shown
    assert "1,000.0 ms" in shown
    assert shown.count("100x") == 2


def test_without_the_model_it_says_what_to_do(demo: ModuleType, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(SystemExit, match="make demo-llm"), demo.server(tmp_path, None):
        pass
