"""What the tests of the servers share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

from tiercache.testing.servers import ServerUnavailable

T = TypeVar("T")
ROOT = Path(__file__).parent.parent.parent


def lack(reason: str) -> NoReturn:
    """Skip, or fail on CI, where everything can be had."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def had(server: AbstractContextManager[T]) -> Iterator[T]:
    """Enter `server`, where it can be had."""
    with ExitStack() as stack:
        try:
            running = stack.enter_context(server)
        except ServerUnavailable as reason:
            lack(str(reason))
        yield running


def runs(pid: int) -> bool:
    """Whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
