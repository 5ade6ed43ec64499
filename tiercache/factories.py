"""`CacheOfFactories`: what `Cache` does with functions that make the values: `get_or_set`, its batch, `cached`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, Unpack, cast, overload

from .codec import decode
from .decorator import CachedFunction, Decorator
from .errors import ConfigurationError, CorruptEntry
from .flow import adrive, drive
from .many import CacheOfMany
from .memory import Slot
from .options import ComputeOptions, age_limit
from .pending import Pending
from .result import Result
from .units import Duration

if TYPE_CHECKING:
    from .cache import Cache

P = ParamSpec("P")
R = TypeVar("R")
Many = Callable[[list[str]], Any]
"""Given the keys that are missing, in order: a mapping from keys to values, or the values in the order of the keys."""


class CacheOfFactories(CacheOfMany):
    """The part of `Cache` in which a missing value is computed."""

    _ahead: float | None

    def get_or_set(
        self, key: str, factory: Callable[[], Any], *, type: type[Any] | None = None, **options: Unpack[ComputeOptions]
    ) -> Any:
        """Return the value; if no tier has it, compute it once for all who ask, and store it.

        All callers, the first one included, get what a later hit would return: a copy of their own, and for models
        a dict unless `type` is given. A value that no codec takes is handed through and not stored.

        What is left out of the options is as the cache was told; None switches one off.

        Args:
            key: text of up to 64 KiB, its namespace included.
            factory: makes the value; runs in this thread, or with a timeout in a worker. (`aget_or_set`: async, or
                sync in a worker.) It may return a `Computed`, which says what only the value tells.
            type: as for `get`.
            options: `ttl`, `stale_for`, `tags`, `attributes`, `storage_class` as for `set`, and:
                `stale_for`: so long after its ttl a value is served at once, and refreshed in the background, once.
                `stale_if_error`: so long after its ttl it is served when the factory fails. True: as long as it is
                kept, which `stale_for` says. After a failure the factory is left alone for up to 30 seconds.
                `soft_timeout`: where a stale value may be served, the factory gets this long before it is.
                `timeout`: the longest wait, for the factory and for the stores. In both cases the computation goes on
                and is stored; those who come later wait for the same one.
                `refresh_ahead`: 0 to 1; a value in this last part of its ttl is served at once and refreshed in the
                background: from a slower tier where another process has renewed it, else by the factory.
                `negative_ttl`: the ttl of a None. It is never served stale.

        Raises:
            ReentrantComputation: the factory asked for its own key.
            ComputeTimeout: the timeout passed and there is no stale value. (A TimeoutError.)
            TypeError: the factory is async; or its value is not of `type`; or there is no option of that name.
            Exception: what the factory raised; nothing is stored. In a strict chain also what a store raised.
        """
        slot = self._hit(key)
        if slot is not None:
            try:
                value = decode(slot.payload, slot.traits.codec, type)
            except CorruptEntry:
                self._uncount_hit()
            else:
                ahead = options.get("refresh_ahead", self._ahead)
                if ahead is not None and self._nears_its_end(slot, ahead):
                    drive(self._flows.refresh_early(self._prefix + key, slot, self._flows.job(factory, **options)))
                return value
        full = self._flows.full(key)
        return drive(self._flows.get_or_set(full, self._flows.job(factory, **options), type))

    async def aget_or_set(
        self, key: str, factory: Callable[[], Any], *, type: type[Any] | None = None, **options: Unpack[ComputeOptions]
    ) -> Any:
        """`get_or_set`, awaited; cancelling the caller does not cancel the computation that others wait for."""
        slot = self._hit(key)
        if slot is not None:
            try:
                value = decode(slot.payload, slot.traits.codec, type)
            except CorruptEntry:
                self._uncount_hit()
            else:
                ahead = options.get("refresh_ahead", self._ahead)
                if ahead is not None and self._nears_its_end(slot, ahead):
                    job = self._flows.job(factory, **options)
                    await adrive(self._flows.refresh_early(self._prefix + key, slot, job))
                return value
        full = self._flows.full(key)
        return await adrive(self._flows.get_or_set(full, self._flows.job(factory, **options), type))

    def lookup_or_set(
        self,
        key: str,
        factory: Callable[[], Any],
        *,
        type: type[Any] | None = None,
        max_age: Duration | None = None,
        **options: Unpack[ComputeOptions],
    ) -> Result:
        """`get_or_set`, and where the value came from: of a computed one `hit` is False and `tier` is None.

        Args:
            key, factory, type, options: as for `get_or_set`.
            max_age: what was made longer ago than this is computed anew, and replaced; 0: in any case. Callers who ask
                so at the same moment share one computation.
        """
        if max_age is None and (result := self._at_once(key, factory, type, options)) is not None:
            return result
        job = self._flows.job(factory, **options)
        return drive(self._flows.lookup_or_set(self._flows.full(key), job, type, age_limit(max_age)))

    async def alookup_or_set(
        self,
        key: str,
        factory: Callable[[], Any],
        *,
        type: type[Any] | None = None,
        max_age: Duration | None = None,
        **options: Unpack[ComputeOptions],
    ) -> Result:
        """`lookup_or_set`, awaited."""
        if max_age is None and (result := self._at_once(key, factory, type, options)) is not None:
            return result
        job = self._flows.job(factory, **options)
        return await adrive(self._flows.lookup_or_set(self._flows.full(key), job, type, age_limit(max_age)))

    def is_computing(self, key: str) -> bool:
        """Whether a value of the key is being made in this process at this moment: `get_or_set` might wait for it."""
        return self.chain.flights.is_under_way(self._flows.full(key))

    def begin(self, key: str) -> Pending:
        """Begin to make a value in one's own way, in parts for example; see `Pending` for how it is stored later.

        Unlike `get_or_set` this looks nowhere, waits for nobody, and nobody waits for it.
        """
        return Pending(cast("Cache", self), key)

    def get_or_set_many(
        self,
        keys: Iterable[str],
        factory: Many,
        *,
        type: type[Any] | None = None,
        errors: Literal["raise", "return"] = "raise",
        **options: Unpack[ComputeOptions],
    ) -> dict[str, Any]:
        """Return the values in the order of the keys; those that no tier has are computed in one call and stored.

        What somebody else computes at that moment, in a batch or alone, is waited for and not asked again.

        Args:
            keys: each counts once.
            factory: is given the list of the missing keys, in order, and returns a mapping from keys to values, or as
                many values in that order. It may leave keys out of a mapping: they are missing in the result, too. An
                exception as a value is the error of that key alone. What it raises is the error of all it was given.
            type: as for `get`.
            errors: `raise`: the error of the first key that has one, after all others were computed and stored.
                `return`: errors stand in the result in place of values.
            options: as for `get_or_set`; `refresh_ahead` has no effect here.

        Raises:
            ReentrantComputation: the factory asked for one of its own keys.
            Exception: as `errors` says; a `ComputeTimeout` among them.
        """
        job = self._flows.job(factory, **options)
        return drive(self._flows.get_or_set_many(self._flows.fulls(keys), job, type, _checked(errors)))

    async def aget_or_set_many(
        self,
        keys: Iterable[str],
        factory: Many,
        *,
        type: type[Any] | None = None,
        errors: Literal["raise", "return"] = "raise",
        **options: Unpack[ComputeOptions],
    ) -> dict[str, Any]:
        """`get_or_set_many`, awaited; the factory is async, or sync in a worker."""
        job = self._flows.job(factory, **options)
        return await adrive(self._flows.get_or_set_many(self._flows.fulls(keys), job, type, _checked(errors)))

    def lookup_or_set_many(
        self,
        keys: Iterable[str],
        factory: Many,
        *,
        type: type[Any] | None = None,
        max_age: Duration | None = None,
        errors: Literal["raise", "return"] = "raise",
        **options: Unpack[ComputeOptions],
    ) -> dict[str, Any]:
        """`get_or_set_many`, and where each value came from: a `Result` for each key.

        Args:
            keys, factory, type, options: as for `get_or_set_many`; each value that the factory makes may be a
                `Computed`, with tags and attributes of its own.
            max_age: as for `lookup_or_set`, for each key.
            errors: as for `get_or_set_many`; with `return` an error stands in place of the `Result`.
        """
        job = self._flows.job(factory, **options)
        fulls, age = self._flows.fulls(keys), age_limit(max_age)
        return drive(self._flows.lookup_or_set_many(fulls, job, type, age, _checked(errors)))

    async def alookup_or_set_many(
        self,
        keys: Iterable[str],
        factory: Many,
        *,
        type: type[Any] | None = None,
        max_age: Duration | None = None,
        errors: Literal["raise", "return"] = "raise",
        **options: Unpack[ComputeOptions],
    ) -> dict[str, Any]:
        """`lookup_or_set_many`, awaited."""
        job = self._flows.job(factory, **options)
        fulls, age = self._flows.fulls(keys), age_limit(max_age)
        return await adrive(self._flows.lookup_or_set_many(fulls, job, type, age, _checked(errors)))

    @overload
    def cached(self, function: Callable[P, R], /) -> CachedFunction[P, R]: ...
    @overload
    def cached(
        self,
        /,
        *,
        key: Callable[..., str] | None = None,
        type: type[Any] | None = None,
        **options: Unpack[ComputeOptions],
    ) -> Decorator: ...
    def cached(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        key: Callable[..., str] | None = None,
        type: type[Any] | None = None,
        **options: Unpack[ComputeOptions],
    ) -> Any:
        """Decorate a function, sync or async, so that equal calls are answered from the cache.

        Args:
            function: the function, for `@cache.cached` without parentheses.
            key: makes the key from the call's arguments; left out: a digest of the function and of all arguments,
                which must be made of plain data. An edited function is another one; one that closes over variables
                keeps its values to itself and for its own lifetime.
            type, options: as for `get_or_set`.

        The decorated function has `.key(…)`, `.invalidate(…)`, `.ainvalidate(…)` and `.stats()`.
        """
        tags = options.get("tags")
        if isinstance(tags, Iterator):
            options["tags"] = tuple(tags)  # they are used more than once
        self._flows.job(_unused, **options)  # what is wrong is refused now, not at a call
        decorator = Decorator(cast("Cache", self), {**options, "type": type}, key)
        return decorator if function is None else decorator(function)

    def _at_once(
        self, key: str, factory: Callable[[], Any], type: type[Any] | None, options: ComputeOptions
    ) -> Result | None:
        """Return what memory holds, unless it is near its end: then a flow refreshes it."""
        if options.get("refresh_ahead", self._ahead) is not None or not callable(factory):
            return None
        slot = self._hit(key)
        if slot is None:
            return None
        try:
            value = decode(slot.payload, slot.traits.codec, type)
        except CorruptEntry:
            self._uncount_hit()
            return None
        return self._flows.result_of(value, self.chain.tiers[0].label, slot.metadata(self._prefix + key))

    def _hit(self, key: str) -> Slot | None:
        raise NotImplementedError

    def _uncount_hit(self) -> None:
        raise NotImplementedError

    def _nears_its_end(self, slot: Slot, ahead: float) -> bool:
        """Whether a fresh value is in the last part of its ttl."""
        if slot.fresh_until == math.inf:
            return False
        life = slot.fresh_until - slot.metadata("").created_at
        return slot.fresh_until - self.chain.clock() <= ahead * life


def _unused() -> None:
    """Stands for a factory where only the options are to be checked."""


def _checked(errors: Any) -> Literal["raise", "return"]:
    if errors not in ("raise", "return"):
        raise ConfigurationError("errors must be 'raise' or 'return'")
    return errors  # type: ignore[no-any-return]
