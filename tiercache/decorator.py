"""`@cache.cached()`: functions whose equal calls are answered from the cache.

The key of a call is the function's name and a digest of its arguments and of the function itself: its bytecode, so
that an edited function computes anew, and in a script the script's path, so that two programs that share a file do not
share `__main__.answer`. A function that closes over variables depends on what no key can hold: its values are its own,
for its own lifetime. `key=` takes all of this into the caller's hands.
"""

from __future__ import annotations

import functools
import inspect
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast

from .errors import ConfigurationError, UncacheableValue
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
        if key is None and not isinstance(function, FunctionType):
            raise ConfigurationError(
                f"cached() makes keys of calls of functions and methods, not of a {type(function).__name__}: pass key="
            )
        self._signature = inspect.signature(function)
        self._name = f"{function.__module__}.{getattr(function, '__qualname__', '')}"
        self._identity = "" if key is not None else _identity(cast(FunctionType, function))
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
            return f"{self._name}:{digest(self._identity, dict(bound.arguments))}"
        except UncacheableValue as error:
            raise UncacheableValue(f"no key for a call of {self._name}: {error}; pass key= to cached()") from None

    def invalidate(self, *args: Any, **kwargs: Any) -> bool:
        return self._cache.delete(self.key(*args, **kwargs))

    async def ainvalidate(self, *args: Any, **kwargs: Any) -> bool:
        return await self._cache.adelete(self.key(*args, **kwargs))

    def stats(self) -> FunctionStats:
        return FunctionStats(self._calls, self._computed)


def _identity(function: FunctionType) -> str:
    """Return what tells this function from others of the same name, now or later."""
    if set(function.__code__.co_freevars) - {"__class__"}:  # that one is only what super() needs
        return uuid.uuid4().hex
    script = getattr(sys.modules.get("__main__"), "__file__", None) if function.__module__ == "__main__" else None
    return digest(_code(function.__code__), str(Path(script).resolve()) if script else "")


def _code(code: CodeType) -> str:
    """Return a digest of what a function does: no names of files, no line numbers."""
    constants = [
        _code(constant)
        if isinstance(constant, CodeType)
        else repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant)
        for constant in code.co_consts
    ]
    return digest(code.co_code, constants, list(code.co_names), list(code.co_varnames), list(code.co_freevars))
