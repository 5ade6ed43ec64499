"""What the tests of integrations share: a fake provider that counts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.provider import FakeProvider


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    """A provider on loopback; `tests/provider/__init__.py` says what it can do."""
    with FakeProvider() as fake:
        yield fake
