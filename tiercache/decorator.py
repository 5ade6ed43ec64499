"""`@cache.cached()`: functions whose equal calls are answered from the cache."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast

from .errors import UncacheableValue
from .keys import digest

if TYPE_CHECKING:
    from .cache import Cache

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class FunctionStats:
    """Calls of one cached function in this process, and how many of them ran it."""

    calls: int
    computed: int

    @property
    def hit_rate(self) -> float:
        """Calls that did not run the function, 0 to 1; 0 without any."""
        return 1 - self.computed / self.calls if self.calls else 0.0


class CachedFunction(Protocol[P, R_co]):
    """A function that asks the cache first: called, awaited and bound like the one it wraps."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Return the cached value of the call, or compute it."""
        ...

    def key(self, *args: Any, **kwargs: Any) -> str:
        """Return the key under which a call with these arguments is cached.

        Raises:
            UncacheableValue: an argument is not plain data; pass `key=` to the decorator. (A TypeError.)
        """
        ...

    def invalidate(self, *args: Any, **kwargs: Any) -> bool:
        """Remove the value of a call with these arguments; return whether there was one."""
        ...

    async def ainvalidate(self, *args: Any, **kwargs: Any) -> bool:
        """`invalidate`, awaited."""
        ...

    def stats(self) -> FunctionStats:
        """Return how often it was called and how often the function really ran."""
        ...


class Decorator:
    """What `cache.cached(…)` returns; applied to a function it gives a `CachedFunction`."""

    def __init__(self, cache: Cache, options: Mapping[str, Any], key: Callable[..., str] | None) -> None:
        self._cache = cache
        self._options = options
        self._key = key

    def __call__(self, function: Callable[P, R]) -> CachedFunction[P, R]:
        """Return the function as a cached one."""
        calls = _Calls(self._cache, function, self._options, self._key)
        # Real functions, because frameworks ask `iscoroutinefunction`, and methods must bind.
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                return await calls.acall(args, kwargs)

            wrapper: Any = awaited
        else:

            @functools.wraps(function)
            def called(*args: Any, **kwargs: Any) -> Any:
                return calls.call(args, kwargs)

            wrapper = called
        wrapper.key, wrapper.stats = calls.key, calls.stats
        wrapper.invalidate, wrapper.ainvalidate = calls.invalidate, calls.ainvalidate
        return cast(CachedFunction[P, R], wrapper)


class _Calls:
    """The calls of one function."""

    def __init__(
        self, cache: Cache, function: Callable[..., Any], options: Mapping[str, Any], key: Callable[..., str] | None
    ) -> None:
        self._cache = cache
        self._function = function
        self._options = options
        self._key = key
        self._signature = inspect.signature(function)
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._calls = 0
        self._computed = 0

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._calls += 1

        def compute() -> Any:
            self._computed += 1
            return self._function(*args, **kwargs)

        return self._cache.get_or_set(self.key(*args, **kwargs), compute, **self._options)

    async def acall(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._calls += 1

        async def compute() -> Any:
            self._computed += 1
            return await self._function(*args, **kwargs)

        return await self._cache.aget_or_set(self.key(*args, **kwargs), compute, **self._options)

    def key(self, *args: Any, **kwargs: Any) -> str:
        if self._key is not None:
            return self._key(*args, **kwargs)
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        try:
            return f"{self._name}:{digest(dict(bound.arguments))}"
        except UncacheableValue as error:
            raise UncacheableValue(f"no key for a call of {self._name}: {error}; pass key= to cached()") from None

    def invalidate(self, *args: Any, **kwargs: Any) -> bool:
        return self._cache.delete(self.key(*args, **kwargs))

    async def ainvalidate(self, *args: Any, **kwargs: Any) -> bool:
        return await self._cache.adelete(self.key(*args, **kwargs))

    def stats(self) -> FunctionStats:
        return FunctionStats(self._calls, self._computed)
