"""A coroutine that begins even where its task is cancelled before its first step."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


class Begun(Coroutine[Any, Any, T]):
    """For a task that has to see to something when it is cancelled: it is interrupted where it first waits.

    A task that is cancelled before its first step (a loop that ends does that to all of them) runs nothing at all of a
    plain coroutine, neither `except` nor `finally`.

    Args:
        coroutine: what the task is to run.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, T]) -> None:
        self._coroutine = coroutine
        self._has_begun = False
        self.__name__: str = getattr(coroutine, "__name__", "")  # what shows tasks asks for these
        self.__qualname__: str = getattr(coroutine, "__qualname__", "")

    def send(self, value: Any) -> Any:
        """Go on."""
        self._has_begun = True
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        """Go on with an error; a cancellation before the first step comes at the first wait."""
        task = None if self._has_begun else asyncio.current_task()
        self._has_begun = True
        if task is None or not isinstance(error[0], asyncio.CancelledError):
            return self._coroutine.throw(*error)
        task.cancel()
        return self._coroutine.send(None)

    def close(self) -> None:
        """Give it up."""
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return self._coroutine.__await__()
