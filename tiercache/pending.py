"""`Pending`: a value that somebody is making, to be stored when it is there unless its key was changed meanwhile."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Unpack

from .flow import drive
from .options import OWN, EntryOptions

if TYPE_CHECKING:
    from .cache import Cache


class Pending:
    """What `Cache.begin` returns. Used as a context manager, or closed by `release`.

    Attributes:
        key: under which the value will be stored.
    """

    __slots__ = ("_cache", "_load", "_released", "key")

    def __init__(self, cache: Cache, key: str) -> None:
        self.key = key
        self._cache = cache
        self._load = cache.chain.fence.begin(cache._flows.full(key))
        self._released = False

    def holds(self, tags: Iterable[str] = ()) -> bool:
        """Whether nothing changed the key since, nor invalidated one of these tags or the namespace, as is known here.

        Whoever asks for the value after such a change must not be given this one.
        """
        load, chain = self._load, self._cache.chain
        return load.valid and not chain.epochs.of(load.key).marks.cover(load.began, tags)

    def store(self, value: Any, **options: Unpack[EntryOptions]) -> bool:
        """Store the value, with options as for `Cache.set`, as one that was made when this began.

        Returns:
            Whether it was stored; False: the key was set, touched, deleted or cleared since. (One whose tags or
            namespace were invalidated since is never read.)

        Raises:
            UncacheableValue, ConfigurationError: as for `Cache.set`.
        """
        return drive(self._storing(value, options))

    async def astore(self, value: Any, **options: Unpack[EntryOptions]) -> bool:
        """`store`, awaited; a caller that is cancelled leaves no half-done write behind."""
        return await self._cache._detached(self._storing(value, options))

    def release(self) -> None:
        """It will not be stored, or was; again: nothing happens."""
        if not self._released:
            self._released = True
            self._cache.chain.fence.release(self._load)

    def __enter__(self) -> Pending:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def _storing(self, value: Any, options: EntryOptions) -> Coroutine[Any, Any, bool]:
        flows = self._cache._flows
        checked = flows.options(
            options.get("ttl", OWN),
            options.get("stale_for", OWN),
            options.get("tags", ()),
            options.get("attributes"),
            options.get("storage_class"),
        )
        entry = flows.entry(self._load.key, value, checked, self._load.began)
        return flows.set_loaded(self._load, entry)
