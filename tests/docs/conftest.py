"""What the pages need around them: a mocked bucket, a provider, what other caches left behind."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.test_readme import bucket, llm_provider

__all__ = ["bucket", "llm_provider"]


@pytest.fixture
def langchain_db(tmp_path: Path) -> None:
    """A database as LangChain's SQLiteCache writes it: an answer, one of two parts, and one that was cut off."""
    core = pytest.importorskip("langchain_core")
    assert core
    from langchain_core.load import dumps
    from langchain_core.messages import AIMessage
    from langchain_core.outputs import ChatGeneration

    def answer(text: str, reason: str = "stop") -> ChatGeneration:
        message = AIMessage(text, response_metadata={"finish_reason": reason})
        return ChatGeneration(message=message, generation_info={"finish_reason": reason})

    entries = {
        "why?": [answer("because")],
        "how?": [answer("so"), answer("or so")],
        "when?": [answer("when the", "length")],
    }
    with closing(sqlite3.connect(tmp_path / "langchain.db")) as database, database:
        database.execute(
            "CREATE TABLE full_llm_cache (prompt VARCHAR NOT NULL, llm VARCHAR NOT NULL, idx INTEGER NOT NULL,"
            " response VARCHAR, PRIMARY KEY (prompt, llm, idx))"
        )
        for prompt, answers in entries.items():
            rows = [(prompt, "a model", number, dumps(each)) for number, each in enumerate(answers)]
            database.executemany("INSERT INTO full_llm_cache VALUES (?, ?, ?, ?)", rows)
