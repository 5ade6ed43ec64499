"""`@cache.cached()`: functions whose equal calls are answered from the cache."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from .errors import UncacheableValue
from .keys import digest

if TYPE_CHECKING:
    from .cache import Cache

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class FunctionStats:
    """Calls of one cached function in this process, and how many of them ran it."""

    calls: int
    computed: int

    @property
    def hit_rate(self) -> float:
        """Calls that did not run the function, 0 to 1; 0 without any."""
        return 1 - self.computed / self.calls if self.calls else 0.0


class CachedFunction(Generic[P, R]):
    """A function that asks the cache first. Call or await it like the function itself."""

    def __init__(
        self, cache: Cache, function: Callable[P, R], options: Mapping[str, Any], key: Callable[..., str] | None
    ) -> None:
        self._cache = cache
        self._function = function
        self._options = options
        self._key = key
        self._signature = inspect.signature(function)
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._is_async = inspect.iscoroutinefunction(function)
        self._calls = 0
        self._computed = 0
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the cached value of the call, or compute it."""
        self._calls += 1
        key = self.key(*args, **kwargs)

        def compute() -> Any:
            self._computed += 1
            return self._function(*args, **kwargs)

        async def acompute() -> Any:
            self._computed += 1
            return await cast(Any, self._function(*args, **kwargs))

        if self._is_async:
            return cast(R, self._cache.aget_or_set(key, acompute, **self._options))
        return cast(R, self._cache.get_or_set(key, compute, **self._options))

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Bind methods: the instance is an argument, so it must be plain data or `key=` must leave it out."""
        return self if instance is None else functools.partial(self, instance)

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key under which a call with these arguments is cached.

        Raises:
            UncacheableValue: an argument is not plain data; pass `key=` to the decorator. (A TypeError.)
        """
        if self._key is not None:
            return self._key(*args, **kwargs)
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        try:
            return f"{self._name}:{digest(dict(bound.arguments))}"
        except UncacheableValue as error:
            raise UncacheableValue(f"no key for a call of {self._name}: {error}; pass key= to cached()") from None

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Remove the value of a call with these arguments; return whether there was one."""
        return self._cache.delete(self.key(*args, **kwargs))

    async def ainvalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """`invalidate`, awaited."""
        return await self._cache.adelete(self.key(*args, **kwargs))

    def stats(self) -> FunctionStats:
        """Return how often it was called and how often the function really ran."""
        return FunctionStats(self._calls, self._computed)


class Decorator:
    """What `cache.cached(…)` returns; applied to a function it gives a `CachedFunction`."""

    def __init__(self, cache: Cache, options: Mapping[str, Any], key: Callable[..., str] | None) -> None:
        self._cache = cache
        self._options = options
        self._key = key

    def __call__(self, function: Callable[P, R]) -> CachedFunction[P, R]:
        """Return the function as a cached one."""
        return CachedFunction(self._cache, function, self._options, self._key)
