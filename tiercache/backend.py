"""`Backend`: the contract that every store fulfils.

A store may inherit it and implement five operations (get, put, delete, scan, ping), or fulfil it structurally.
`tiercache.testing.BackendContract` is the executable form of the rules in these docstrings.

Rules for all operations:

- A miss is None. An absent key is never an error; an expired entry is a miss, whatever the store still holds.
- `deadline` is in seconds of `time.monotonic`, or None. An operation that is abandoned at its deadline raises
  `BackendTimeout` and may still take effect.
- The constructor does no I/O; the first operation connects. After `close()`, which may be called again, every
  operation raises `CacheClosed`.
- A vendor's exceptions are mapped to `tiercache.errors`. Bytes that are no intact entry raise `CorruptEntry`.
- Batches return what succeeded; keys that failed are named by one `PartialFailure`, which carries the rest.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextvars import copy_context
from itertools import islice
from typing import Any, ClassVar, Protocol, TypeVar, cast
from urllib.parse import SplitResult

from .entry import Entry, Metadata
from .errors import BackendError, PartialFailure
from .pool import DaemonPool

T = TypeVar("T")

SCAN_PAGE = 256


class Backend(Protocol):
    """A store of entries.

    Attributes:
        scheme: the default name of a tier on this backend, and its URL scheme.
        persistent: whether entries survive the process.
        timeout: seconds for one operation; a tier sets it before first use. None: no bound.
        concurrency: operations of a batch that run side by side.
        keeps_deadlines: whether an operation really ends by its deadline, whatever the store does. Otherwise a tier
            runs the operations in threads of its own, at most eight at a time, and leaves those behind that are late;
            a store that keeps deadlines, and says so, saves that hop.
        lists_by_prefix: whether a listing of a prefix costs what lies below it. False: it walks through all keys, and
            is not asked for where there is another way.
    """

    scheme: ClassVar[str] = "custom"
    persistent: bool = True
    timeout: float | None = 2.0
    concurrency: int = 16
    keeps_deadlines: bool = False
    lists_by_prefix: bool = True

    @classmethod
    def url_arguments(cls, url: SplitResult) -> dict[str, str]:
        """Return the constructor arguments that host and path of a URL stand for (its query is taken care of)."""
        return {}

    @classmethod
    def query_options(cls, scheme: str) -> Collection[str] | None:
        """Return what the query of its URLs may hold beside the constructor's options; None: only the URL's use tells.

        Args:
            scheme: the URL's.

        Returns:
            Names; `ssl_*` stands for all that begin with `ssl_`.
        """
        return None

    @abstractmethod
    def get(self, key: str, *, deadline: float | None = None) -> Entry | None:
        """Return the entry, stale ones included; None when it is absent or expired."""
        ...

    @abstractmethod
    def put(
        self,
        key: str,
        entry: Entry,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        deadline: float | None = None,
    ) -> bool:
        """Store the entry and return whether it was written.

        Args:
            key: the full stored key; the entry's metadata hold the same one.
            entry: what to store; it may be gone from `metadata.gone_at` on.
            if_absent: write only if the key holds nothing (an expired entry is nothing).
            if_match: write only if the stored entry's `metadata.etag` is this one.
            deadline: see the module's text.
        """
        ...

    @abstractmethod
    def delete(self, key: str, *, deadline: float | None = None) -> bool:
        """Remove the entry and return truthfully whether there was one."""
        ...

    @abstractmethod
    def scan(
        self, prefix: str = "", *, full: bool = False, deadline: float | None = None
    ) -> Iterator[tuple[str, Metadata]]:
        """Yield key and metadata of each entry whose key starts with `prefix`, in no particular order.

        The metadata are what one listing knows (`expires_at=None` may mean unknown); `full=True` asks for all of
        it, at the price of a HEAD each where a listing knows less. Entries known to be expired are left out.
        """
        ...

    @abstractmethod
    def ping(self, *, deadline: float | None = None) -> None:
        """Return when the store can serve; raise what keeps it from serving (for a person to read)."""
        ...

    def head(self, key: str, *, deadline: float | None = None) -> Metadata | None:
        """Return the metadata, without the payload where the store can; None as for `get`."""
        entry = self.get(key, deadline=deadline)
        return None if entry is None else entry.metadata

    def get_many(self, keys: Sequence[str], *, deadline: float | None = None) -> dict[str, Entry]:
        """Return the entries that are there."""
        return self._each(keys, lambda key: self.get(key, deadline=deadline))

    def put_many(self, entries: Mapping[str, Entry], *, deadline: float | None = None) -> None:
        """Store all the entries."""
        self._each(list(entries), lambda key: self.put(key, entries[key], deadline=deadline))

    def delete_many(self, keys: Sequence[str], *, deadline: float | None = None) -> int:
        """Remove the entries and return how many of these keys are now absent (without asking what was there)."""
        return len(self._each(keys, lambda key: self.delete(key, deadline=deadline) or True))

    def clear(self, prefix: str = "", *, deadline: float | None = None) -> int:
        """Delete every entry whose key starts with `prefix` and return how many there were."""
        removed = 0
        for page in _pages(key for key, _ in self.scan(prefix, deadline=deadline)):
            removed += self.delete_many(page, deadline=deadline)
        return removed

    def rebuild(self) -> None:
        """Forget what may be out of date: idle connections, addresses, credentials. Called, and to be quick, when the
        store has not answered for minutes; operations may be under way."""
        return

    def close(self) -> None:
        """Release connections and threads."""
        pool: DaemonPool | None = self.__dict__.pop("_pool", None)
        if pool is not None:
            pool.close()

    async def aget(self, key: str, *, deadline: float | None = None) -> Entry | None:
        """`get`, awaited."""
        return await self._offload(self.get, key, deadline=deadline)

    async def aput(
        self,
        key: str,
        entry: Entry,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        deadline: float | None = None,
    ) -> bool:
        """`put`, awaited."""
        return await self._offload(self.put, key, entry, if_absent=if_absent, if_match=if_match, deadline=deadline)

    async def adelete(self, key: str, *, deadline: float | None = None) -> bool:
        """`delete`, awaited."""
        return await self._offload(self.delete, key, deadline=deadline)

    async def ahead(self, key: str, *, deadline: float | None = None) -> Metadata | None:
        """`head`, awaited."""
        return await self._offload(self.head, key, deadline=deadline)

    async def aget_many(self, keys: Sequence[str], *, deadline: float | None = None) -> dict[str, Entry]:
        """`get_many`, awaited."""
        return await self._offload(self.get_many, keys, deadline=deadline)

    async def aput_many(self, entries: Mapping[str, Entry], *, deadline: float | None = None) -> None:
        """`put_many`, awaited."""
        await self._offload(self.put_many, entries, deadline=deadline)

    async def adelete_many(self, keys: Sequence[str], *, deadline: float | None = None) -> int:
        """`delete_many`, awaited."""
        return await self._offload(self.delete_many, keys, deadline=deadline)

    async def ascan(
        self, prefix: str = "", *, full: bool = False, deadline: float | None = None
    ) -> AsyncIterator[tuple[str, Metadata]]:
        """`scan`, page by page."""
        found = self.scan(prefix, full=full, deadline=deadline)
        while page := await self._offload(lambda: list(islice(found, SCAN_PAGE))):
            for item in page:
                yield item

    async def aclear(self, prefix: str = "", *, deadline: float | None = None) -> int:
        """`clear`, awaited."""
        return await self._offload(self.clear, prefix, deadline=deadline)

    async def aping(self, *, deadline: float | None = None) -> None:
        """`ping`, awaited."""
        await self._offload(self.ping, deadline=deadline)

    async def aclose(self) -> None:
        """`close`, awaited."""
        await asyncio.to_thread(self.close)

    def __repr__(self) -> str:  # a repr ends up in logs: no address, bucket or credentials
        return f"<{type(self).__name__}>"

    def _each(self, keys: Sequence[str], operation: Callable[[str], T | None]) -> dict[str, T]:
        """Perform the operation for each key, one after the other, and keep what is not None."""
        results: dict[str, T] = {}
        failed: dict[str, BackendError] = {}
        for key in keys:
            try:
                result = operation(key)
            except BackendError as error:
                failed[key] = error
            else:
                if result is not None:
                    results[key] = result
        if failed:
            raise PartialFailure(failed, results)
        return results

    async def _offload(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a synchronous operation in this backend's own daemon threads."""
        context = copy_context()  # an SDK that is traced sees whose call this is
        return await self._workers().run(context.run, function, *args, **kwargs)

    def _workers(self) -> DaemonPool:
        pool: DaemonPool | None = self.__dict__.get("_pool")
        if pool is not None:
            return pool
        made = DaemonPool(self.concurrency, f"tiercache-{self.scheme}")
        return cast(DaemonPool, self.__dict__.setdefault("_pool", made))  # atomic: one wins, the other has no thread


def _pages(keys: Iterable[str], size: int = 1000) -> Iterator[list[str]]:
    iterator = iter(keys)
    while page := list(islice(iterator, size)):
        yield page
