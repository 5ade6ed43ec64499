"""`PackedBackend`: many entries an object, in any object store.

Entries wait in memory, where they are readable at once, until they fill a segment, which is one object, written once. A
catalogue in memory knows where each entry is: a hit is one range of one object, a miss no request at all.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from .. import fork
from ..entry import Entry, Metadata
from ..errors import CacheClosed, ConfigurationError, CorruptEntry, UnknownFormat
from ..keys import RESERVED, check_key
from ..logs import fields
from ..objectstore import LifecycleChange, ObjectStoreBackend
from ..shutdown import watch
from ..ticker import ticker
from ..units import Duration, Size, parse_duration, parse_size
from .changes import Changes
from .discovery import Discovery
from .lifecycle import apply_lifecycle
from .listing import clear, scan
from .naming import SegmentName
from .newest import Newest
from .parts import Parts
from .pending import Batch
from .reader import Reader
from .segment import Built, digest_of
from .told import news_of
from .upkeep import SegmentUpkeep
from .writer import Writer

logger = logging.getLogger("tiercache")

MOST_SEGMENT_BYTES = 64 * 2**20
CLOSE_SECONDS = 10.0
"""Seconds that `close` waits for what is not stored yet."""


class PackedBackend(SegmentUpkeep):
    """Entries in segments of an object store.

    What it does otherwise than the store beneath it:

    - `put` returns when the entry waits in memory. This process reads it at once; others when its segment is stored and
      they have looked again. What was not stored when the process dies is lost: a miss, later. `durable=True` waits.
    - `get` is one range GET, a miss no request. `get_many` reads near entries together. `head` costs what `get` costs.
    - `delete` writes a tombstone and waits until it is stored; it costs a read, to say truthfully what was there.
      `delete_many` does not. The bytes go with `compact`, or at once with `erase`.
    - What another process stores is seen after twice `refresh` at the latest, or within a second where the chain has a
      tier that carries notices (Redis).
    - `put` with `if_absent` or `if_match` is atomic among the threads of this process, and not among processes: use a
      tier above for that. Entries of the library's own (`_meta:`) are kept as single objects, where it is.
    - `scan` reads the keys of each segment, one GET each; `full` reads whole segments.

    Args:
        inner: the store; it is this backend's from now on, and closed with it.
        segment_bytes: of a segment, about.
        flush_after: how long an entry waits at most until its segment is written.
        refresh: how often to look for segments of others, while the backend is used. Each look costs a listing.
        durable: whether `put` and `put_many` wait until their segments are stored.
        max_pending_bytes: of what waits in memory.
        when_full: whether a put waits for room until its deadline, or is refused (`drop`) with `BackendUnavailable`.
        max_entries: of the catalogue, which takes about 40 bytes each.

    Attributes:
        inner: the store beneath.
        on_sealed: called from a thread of this backend with what tells other processes of a new segment; to be set.

    Raises:
        ConfigurationError: `inner` is no object store, or an option has no such value.
    """

    def __init__(
        self,
        inner: ObjectStoreBackend,
        *,
        segment_bytes: Size = "8MiB",
        flush_after: Duration = 60.0,
        refresh: Duration = 60.0,
        durable: bool = False,
        max_pending_bytes: Size = "64MiB",
        when_full: Literal["wait", "drop"] = "wait",
        max_entries: int = 4_000_000,
    ) -> None:
        super().__init__(inner)
        if when_full not in ("wait", "drop"):
            raise ConfigurationError(f"when_full={when_full!r} must be one of wait, drop")
        if not isinstance(durable, bool):
            raise ConfigurationError("durable must be True or False")
        if isinstance(max_entries, bool) or not isinstance(max_entries, int) or max_entries < 1:
            raise ConfigurationError("max_entries must be a whole number from 1 on")
        self.segment_bytes = parse_size(segment_bytes, "segment_bytes")
        if self.segment_bytes > MOST_SEGMENT_BYTES:
            raise ConfigurationError("segment_bytes must be 64MiB at most: all stores take that in one request")
        pending_bytes = parse_size(max_pending_bytes, "max_pending_bytes")
        if pending_bytes < self.segment_bytes:
            raise ConfigurationError("max_pending_bytes must have room for a segment (segment_bytes)")
        self.durable = durable
        self.on_sealed: Callable[[Sequence[bytes]], object] = _nobody
        self._flush_after = parse_duration(flush_after, "flush_after")
        self.discovery = Discovery(
            inner, refresh=parse_duration(refresh, "refresh"), max_entries=max_entries, clock=inner.clock
        )
        self.writer = Writer(
            inner.objects,
            inner.prefix,
            segment_bytes=self.segment_bytes,
            max_bytes=pending_bytes,
            wait=when_full == "wait",
            clock=inner.clock,
            adopt=self.adopt,
            lost=self._lost,
        )
        self.newest = Newest(self.writer.pending, self.discovery, inner.clock)
        self.changes = Changes(inner, self.writer.pending, self.newest)
        self.reader = Reader(inner, self.newest, self.discovery)
        self._ticking = False
        self._closed = False
        fork.register(self)
        watch(self)

    def after_fork(self) -> None:
        """The thread that seals old buffers stayed in the parent."""
        self._ticking = False

    def get(self, key: str, *, deadline: float | None = None) -> Entry | None:
        """Return the entry, stale ones included: from memory, or with one range GET; None without a request."""
        if is_reserved(key):
            return self.inner.get(key, deadline=deadline)
        return self.reader.get(check_key(key), self.begin(deadline))

    async def aget(self, key: str, *, deadline: float | None = None) -> Entry | None:
        """`get`, awaited; what takes no request takes no thread either."""
        if self.discovery.is_fresh and not is_reserved(key):
            self._check_open()
            self.inner.due(deadline)
            answered, entry = self.reader.at_once(check_key(key))
            if answered:
                return entry
        return await super().aget(key, deadline=deadline)

    def get_many(self, keys: Sequence[str], *, deadline: float | None = None) -> dict[str, Entry]:
        """Return the entries that are there; near ones of a segment come with one request."""
        own, others = _apart(keys)
        parts, found = Parts(own + others), dict[str, Entry]()
        if own:
            with parts.part(own):
                found |= self.inner.get_many(own, deadline=deadline)
        with parts.part(others):
            self.begin(deadline)
            found |= self.reader.get_many(others, deadline)
        for some in parts.partial:
            found |= some or {}
        parts.check(found)
        return found

    def head(self, key: str, *, deadline: float | None = None) -> Metadata | None:
        """Return the metadata; it costs what `get` costs."""
        entry = self.get(key, deadline=deadline)
        return None if entry is None else entry.metadata

    def scan(
        self, prefix: str = "", *, full: bool = False, deadline: float | None = None
    ) -> Iterator[tuple[str, Metadata]]:
        """Yield what waits, then segment by segment (see the class for what it costs)."""
        self.begin(deadline)
        return scan(self, prefix, full=full, deadline=deadline)

    def clear(self, prefix: str = "", *, deadline: float | None = None) -> int:
        """Write a tombstone for each entry whose key starts with `prefix`, and return how many there were.

        It costs a GET for each segment and the PUTs of one batch; the bytes go with `sweep` or `compact`.
        """
        self.begin(deadline)
        return clear(self, prefix, deadline=deadline)

    def ping(self, *, deadline: float | None = None) -> None:
        """Return when the store can be listed and the catalogue is loaded."""
        self.inner.ping(deadline=deadline)
        self.begin(deadline)

    def put(
        self,
        key: str,
        entry: Entry,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        deadline: float | None = None,
    ) -> bool:
        """Let the entry wait for its segment, and return whether it does; `durable`: until that is stored."""
        if is_reserved(key):
            return self.inner.put(key, entry, if_absent=if_absent, if_match=if_match, deadline=deadline)
        if if_absent and if_match is not None:
            raise ConfigurationError("put takes if_absent or if_match, not both")
        due = self.begin(deadline, fresh=if_absent or if_match is not None)
        batch = None
        if not if_absent and if_match is None:
            batch = self.changes.put(key, entry, due)
        while batch is None:
            stamp = self.newest.stamp(digest_of(check_key(key)))
            try:
                held = self._readable(key, due)
            except UnknownFormat:  # it is somebody's
                return False
            if held is not None if if_absent else held is None or held.etag != if_match:
                return False
            batch = self.changes.put(key, entry, due, expected=stamp)
        if self.durable:
            self.changes.stored([batch], due)
        return True

    def put_many(self, entries: Mapping[str, Entry], *, deadline: float | None = None) -> None:
        """Let the entries wait for their segments; full ones are written at once. `durable`: until all are stored.

        Raises:
            PartialFailure: some wait for no segment, or (`durable`) their segment was not stored with the first
                attempt, or by the deadline; it is still being tried.
        """
        own, others = _apart(entries)
        parts = Parts(entries)
        if own:
            with parts.part(own):
                self.inner.put_many({key: entries[key] for key in own}, deadline=deadline)
        with parts.part(others):
            due = self.begin(deadline, fresh=False)
            parts.failed |= self.changes.put_many({key: entries[key] for key in others}, due, wait=self.durable)
        parts.check({key: True for key in entries if key not in parts.failed})

    def delete(self, key: str, *, deadline: float | None = None) -> bool:
        """Write a tombstone, and return whether there was an entry that could still be read."""
        if is_reserved(key):
            return self.inner.delete(key, deadline=deadline)
        due = self.begin(deadline)
        try:
            existed = self._readable(key, due) is not None
        except UnknownFormat:
            existed = True
        batch = self.changes.bury(digest_of(key), due)
        if batch is not None:
            self.changes.stored([batch], due)
        return existed

    def delete_many(self, keys: Sequence[str], *, deadline: float | None = None) -> int:
        """Write tombstones, in one segment, and return how many of these keys are now absent.

        Raises:
            PartialFailure: tombstones of some keys were not stored with the first attempt, or by the deadline. They
                hide the values in this process, and are still being tried.
        """
        own, others = _apart(dict.fromkeys(keys))
        parts, removed = Parts(own + others), 0
        if own:
            with parts.part(own):
                removed += self.inner.delete_many(own, deadline=deadline)
        with parts.part(others):
            failed = self.changes.bury_many(others, self.begin(deadline))
            parts.failed |= failed
            removed += len(others) - len(failed)
        removed += sum(some or 0 for some in parts.partial)
        parts.check(removed)
        return removed

    def flush(self, *, deadline: float | None = None) -> None:
        """Store all that waits; without a deadline it waits as long as it takes.

        Raises:
            BackendError: not all of it could be stored by the deadline; it is still being tried.
        """
        self._check_open()
        self.writer.flush(deadline)

    def refresh(self, *, deadline: float | None = None) -> None:
        """Look for segments of other processes now."""
        self._check_open()
        self.discovery.refresh(self.inner.due(deadline))

    def heard(self, news: Iterable[bytes]) -> None:
        """Other processes stored these segments (what they gave to `on_sealed`): they are looked at soon."""
        if not self._closed:
            self.discovery.told(news)

    def refresh_soon(self) -> None:
        """Look for segments of other processes in the background: news of them may have been lost."""
        if not self._closed:
            self.discovery.look()

    def advise(self, ttl: float | None, storage_class: str | None = None) -> None:
        """Give the one `StorageClassWarning`, if the class does not suit segments whose entries live so long."""
        self.inner.advise(ttl, storage_class, object_bytes=self.segment_bytes)

    def apply_lifecycle(self, *, dry_run: bool = False, deadline: float | None = None, **place: Any) -> LifecycleChange:
        """Make the bucket's lifecycle rules delete segments whose entries are all expired.

        See `tiercache.packed.lifecycle.apply_lifecycle`.
        """
        self._check_open()
        return apply_lifecycle(self.inner, dry_run=dry_run, deadline=deadline, **place)

    async def aflush(self, *, deadline: float | None = None) -> None:
        """`flush`, awaited."""
        await self._offload(self.flush, deadline=deadline)

    async def arefresh(self, *, deadline: float | None = None) -> None:
        """`refresh`, awaited."""
        await self._offload(self.refresh, deadline=deadline)

    async def aapply_lifecycle(self, **options: Any) -> LifecycleChange:
        """`apply_lifecycle`, awaited."""
        return await self._offload(self.apply_lifecycle, **options)

    def usage(self) -> tuple[int, int]:
        """Return how many keys are known, deleted ones that are remembered included, and the bytes of all segments."""
        return len(self.discovery.catalogue), sum(segment.size for segment in self.discovery.known())

    @property
    def has_pending(self) -> bool:
        """Whether something waits to be stored."""
        return bool(self.writer.pending)

    def drain(self, timeout: float) -> bool:
        """Store what waits, for so many seconds at most, and return whether all of it was stored."""
        try:
            self.writer.flush(time.monotonic() + timeout)
        except Exception as error:  # noqa: BLE001 - why an attempt failed; who drains cannot do more about it
            kind, text = type(error).__name__, "what waits in %s could not be stored: %s"
            logger.debug(text, self.scheme, kind, extra=fields("segment.not_stored", backend=self.scheme, kind=kind))
            return False
        return True

    def end(self) -> None:
        """The interpreter ends: what was not stored is lost, and this is logged."""
        if not self._closed:
            self._finish(0.0)

    def close(self) -> None:
        """Store what waits, for ten seconds at most, and release everything; what is lost is logged and counted.

        From its beginning on every operation raises `CacheClosed`, also a put that waits for room.
        """
        if self._closed:
            return
        self._finish(CLOSE_SECONDS)
        self.discovery.close()
        self.reader.close()
        super().close()

    def _finish(self, seconds: float) -> None:
        self._closed = True  # first: what was put from now on would not be among what is stored, nor be counted
        lost = self.writer.close(seconds)
        ticker.stop(self._tick)
        if lost:
            text = "%d entries were not stored when their backend was closed: they are lost"
            logger.warning(text, lost, extra=fields("entries.lost", backend=self.scheme, entries=lost))

    def begin(self, deadline: float | None, *, fresh: bool = True) -> float | None:
        """Return when an operation that begins now must end, when the catalogue can be believed.

        What only adds does not need it `fresh`: it waits for no store that cannot be listed.
        """
        self._check_open()
        due = self.inner.due(deadline)
        self.discovery.ready(due, fresh=fresh)
        return due

    def _check_open(self) -> None:
        if self._closed:
            raise CacheClosed(f"this {type(self).__name__}")
        if not self._ticking:
            self._ticking = True
            ticker.every(min(1.0, max(0.02, self._flush_after / 4)), self._tick)

    def _tick(self) -> None:
        self.writer.seal_older_than(self._flush_after)

    def _readable(self, key: str, due: float | None) -> Metadata | None:
        """What can be read under a key; damaged records count as nothing."""
        try:
            entry = self.reader.get(check_key(key), due)
        except UnknownFormat:
            raise
        except CorruptEntry:
            return None
        return None if entry is None else entry.metadata

    def bury_for_good(self, key: str, deadline: float | None) -> None:
        """Store a tombstone of a key, and whatever of it waits or is being stored."""
        self.changes.bury(digest_of(key), deadline)
        self.writer.flush(deadline)

    def adopt(self, name: SegmentName, storage_class: str | None, built: Built) -> None:
        """Take note of a segment that was stored, and tell others."""
        segment = self.discovery.adopt(name, storage_class, built)
        self.on_sealed([news_of(segment, self.inner.prefix, self.inner.storage_class)])

    def _lost(self, batch: Batch) -> None:
        if not self._closed:
            self.changes.restore(batch)


def _nobody(news: Sequence[bytes]) -> None:
    """Stands for the chain, which tells other processes."""


def is_reserved(key: str) -> bool:
    """Whether an entry is the library's own: it is kept as a single object, with the store's own conditional writes."""
    return isinstance(key, str) and key.startswith(_RESERVED)


def _apart(keys: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the keys of the library's own entries, and the others."""
    own: list[str] = []
    others: list[str] = []
    for key in keys:
        (own if is_reserved(key) else others).append(key)
    return own, others


_RESERVED = RESERVED + ":"
