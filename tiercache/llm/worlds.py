"""One flow, two worlds: a flow is an `async def` that reaches the cache and the caller's functions through a world.

In the `Blocking` world nothing ever suspends, so a flow runs to its end in one step, in the caller's thread; in the
`Awaiting` world it is a coroutine like any other.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from ..cache import Cache
from ..result import Result

T = TypeVar("T")
Flow = Coroutine[Any, Any, T]


class World(Protocol):
    """What a flow may ask for; the operations are those of `Cache`."""

    async def lookup(self, key: str) -> Result: ...
    async def lookup_many(self, keys: Iterable[str], **options: Any) -> dict[str, Result]: ...
    async def lookup_or_set(self, key: str, factory: Callable[[], Flow[Any]], **options: Any) -> Result: ...
    async def lookup_or_set_many(
        self, keys: Iterable[str], factory: Callable[[list[str]], Flow[Any]], **options: Any
    ) -> dict[str, Any]: ...
    async def set(self, key: str, value: Any, **options: Any) -> None: ...
    async def set_many(self, items: Mapping[str, Any], **options: Any) -> None: ...
    async def delete(self, key: str) -> bool: ...
    async def call(self, function: Callable[..., Any], *args: Any) -> Any: ...


class Blocking:
    """For callers that block."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache

    async def lookup(self, key: str) -> Result:
        return self.cache.lookup(key)

    async def lookup_many(self, keys: Iterable[str], **options: Any) -> dict[str, Result]:
        return self.cache.lookup_many(keys, **options)

    async def lookup_or_set(self, key: str, factory: Callable[[], Flow[Any]], **options: Any) -> Result:
        return self.cache.lookup_or_set(key, lambda: run(factory()), **options)

    async def lookup_or_set_many(
        self, keys: Iterable[str], factory: Callable[[list[str]], Flow[Any]], **options: Any
    ) -> dict[str, Any]:
        return self.cache.lookup_or_set_many(keys, lambda missing: run(factory(missing)), **options)

    async def set(self, key: str, value: Any, **options: Any) -> None:
        self.cache.set(key, value, **options)

    async def set_many(self, items: Mapping[str, Any], **options: Any) -> None:
        self.cache.set_many(items, **options)

    async def delete(self, key: str) -> bool:
        return self.cache.delete(key)

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function of the caller's, which must not be async."""
        made = function(*args)
        if inspect.isawaitable(made):
            if inspect.iscoroutine(made):
                made.close()
            raise TypeError(
                "the function is async: use the operation's twin, whose name begins with an a, and await it"
            )
        return made


class Awaiting:
    """For callers that await."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache

    async def lookup(self, key: str) -> Result:
        return await self.cache.alookup(key)

    async def lookup_many(self, keys: Iterable[str], **options: Any) -> dict[str, Result]:
        return await self.cache.alookup_many(keys, **options)

    async def lookup_or_set(self, key: str, factory: Callable[[], Flow[Any]], **options: Any) -> Result:
        return await self.cache.alookup_or_set(key, factory, **options)

    async def lookup_or_set_many(
        self, keys: Iterable[str], factory: Callable[[list[str]], Flow[Any]], **options: Any
    ) -> dict[str, Any]:
        return await self.cache.alookup_or_set_many(keys, factory, **options)

    async def set(self, key: str, value: Any, **options: Any) -> None:
        await self.cache.aset(key, value, **options)

    async def set_many(self, items: Mapping[str, Any], **options: Any) -> None:
        await self.cache.aset_many(items, **options)

    async def delete(self, key: str) -> bool:
        return await self.cache.adelete(key)

    async def call(self, function: Callable[..., Any | Awaitable[Any]], *args: Any) -> Any:
        """Call a function of the caller's, and await it if it is async; a sync one runs in the loop's thread."""
        made = function(*args)
        return await made if inspect.isawaitable(made) else made


def run(flow: Flow[T]) -> T:
    """Run a flow of the blocking world to its end."""
    try:
        flow.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    flow.close()
    raise RuntimeError("a flow of the blocking world awaited something; this is a defect of tiercache")
