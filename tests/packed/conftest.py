"""Fixtures of the tests of packed segments."""

from __future__ import annotations

import pytest

from tests.packed.objects import MemoryObjects


@pytest.fixture
def objects() -> MemoryObjects:
    """An empty store in memory."""
    return MemoryObjects()
