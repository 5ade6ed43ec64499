"""Fixtures of the tests of packed segments."""

from __future__ import annotations

import pytest

from tests.packed.objects import MemoryObjects
from tiercache.packed import naming


@pytest.fixture
def objects() -> MemoryObjects:
    """An empty store in memory."""
    return MemoryObjects()


@pytest.fixture(autouse=True)
def ulids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test is a process with a row of ULIDs of its own: a clock that was ahead in one is not in the next."""
    own = naming.Ulids()
    for module in ("sending", "rewriting"):
        monkeypatch.setattr(f"tiercache.packed.{module}.new_ulid", own.new)
