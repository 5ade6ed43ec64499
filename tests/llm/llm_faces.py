"""Both faces of an `LLMCache` under one name, and a provider that counts: the tests say what they want once."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

from tiercache.llm import LLMCache


class Provider:
    """Answers what it is told, in turn, the last again and again; `calls` counts, `asked` holds the requests."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []

    @property
    def calls(self) -> int:
        return len(self.asked)

    def __call__(self, request: Any) -> Any:
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer() if inspect.isfunction(answer) else answer


class Face:
    """Calls operations by their names, blocking or awaited."""

    def __init__(self, world: str) -> None:
        self.world = world

    def __call__(self, llm: LLMCache, operation: str, *args: Any, **said: Any) -> Any:
        if self.world == "sync":
            return getattr(llm, operation)(*args, **said)
        return asyncio.run(self._awaited(getattr(llm, f"a{operation}"), *args, **said))

    async def _awaited(self, operation: Callable[..., Any], *args: Any, **said: Any) -> Any:
        return await operation(*map(_awaitable, args), **said)


def _awaitable(value: Any) -> Any:
    if not isinstance(value, Provider):
        return value

    async def ask(request: Any) -> Any:
        await asyncio.sleep(0)
        return value(request)

    return ask
