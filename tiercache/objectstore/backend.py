"""`ObjectStoreBackend`: all that S3, Google Cloud Storage and Azure Blob share.

One entry is one object: its body is the envelope, its name the backend's prefix and the percent-encoded key, its
user metadata the mirror (`tiercache.objectstore.mirror`). A read is one request, a write is one request. A vendor's
backend is this class with an `ObjectStore` that makes the SDK's calls.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType
from typing import TypeVar

from .. import keys
from ..entry import Clock, Entry, Metadata
from ..envelope import MAX_HEADER_BYTES, PLAIN, Envelope, is_encrypted
from ..errors import (
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    CacheClosed,
    ConfigurationError,
    CorruptEntry,
    EntryTooLarge,
    PartialFailure,
    UnknownFormat,
)
from ..pool import DaemonPool
from ..storage_class import remaining_life
from ..units import Duration, Size, parse_duration, parse_size
from .advice import TYPICAL_ENTRY, Advisor
from .classes import ClassRules, usable
from .listing import Listed, guessed, known, ours, page_of, with_info
from .mirror import from_user_metadata, to_user_metadata
from .objects import ObjectInfo, ObjectStore, Upload, checked_prefix
from .parallel import for_each, what_is_intact
from .upkeep import BucketUpkeep

T = TypeVar("T")

CONTENT_TYPE = "application/vnd.tiercache.entry"
_ENVELOPE_OVERHEAD = MAX_HEADER_BYTES + 256


class ObjectStoreBackend(BucketUpkeep):
    """Entries as objects in a bucket.

    - `get` is one GET, `put` one PUT. `put(if_absent=True)` onto an object that is expired or damaged costs a HEAD
      and a second PUT. `delete` is HEAD and DELETE; `delete_many` and `clear` are bulk requests.
    - `head` is one HEAD, and one GET more where the mirror is incomplete or missing (tags or attributes that were
      too large, objects that another tool copied without their metadata), so that it always agrees with `get`.
    - `get_many` and `put_many` send one request for each key, `max_concurrency` side by side. Each operation takes
      `timeout` seconds at most, the whole batch until its `deadline`; what has arrived by then is kept.
    - `scan` knows what a listing tells: `size` is the stored size, `created_at` when the object was written, and
      `expires_at=None` means unknown. Keys whose names were cut (over 900 encoded bytes) cost a GET each.
    - An entry that is already gone when it is put is written all the same: it replaces what was there, and no read
      returns it.
    - What is damaged, or was copied from another key, is a `CorruptEntry`; `delete` removes it and returns False,
      as for an expired entry.

    Attributes:
        objects: the vendor's calls.
        prefix: what the names of all objects start with; empty or ending in `/`.
        max_entry_bytes: the largest payload that is written or read.
        rules: the vendor's storage classes, by name; empty when the store has none.
        storage_class: the class of entries that ask for none; None: as the bucket does by default.
        scan_is_dear_in_full: `scan(full=True)` costs a request for each entry, or all the bytes.
    """

    persistent = True
    scan_is_dear_in_full = True
    keeps_deadlines = True
    rules: Mapping[str, ClassRules] = MappingProxyType({})
    storage_class: str | None = None

    def __init__(
        self,
        objects: ObjectStore,
        *,
        prefix: str = "",
        timeout: Duration | None = 2.0,
        max_concurrency: int = 16,
        max_entry_bytes: Size = "16MiB",
        typical_entry_bytes: Size = TYPICAL_ENTRY,
        clock: Clock = time.time,
    ) -> None:
        if isinstance(max_concurrency, bool) or not isinstance(max_concurrency, int) or max_concurrency < 1:
            raise ConfigurationError("max_concurrency must be a positive number of requests")
        self.objects = objects
        self.prefix = checked_prefix(prefix)
        self.timeout = None if timeout is None else parse_duration(timeout, "timeout")
        self.concurrency = max_concurrency
        self.max_entry_bytes = parse_size(max_entry_bytes, "max_entry_bytes")
        self.clock = clock
        self.envelope: Envelope = PLAIN
        self._advisor = Advisor(parse_size(typical_entry_bytes, "typical_entry_bytes"))
        self._closed = False
        # Not the pool of the a-twins: a batch that waits in that one for its own threads would wait for ever.
        self._batches = DaemonPool(max_concurrency, f"tiercache-{self.scheme}-batch")

    @property
    def scan_tells_writing(self) -> bool:
        """Whether the `created_at` of a scan is when the object was written, by the store's clock in whole seconds."""
        return not self.objects.lists_metadata

    @property
    def entry_bytes(self) -> int:
        """Stored bytes of an entry: the mean of those that were written, or `typical_entry_bytes`."""
        return self._advisor.entry_bytes

    def seal_with(self, envelope: Envelope) -> None:
        """Keep entries sealed from now on (see `Sealable`).

        What a mirror says is then no longer believed: `head` reads the entry, `scan` knows sizes and no expiry unless
        `full`. The mirror of an encrypted entry has no codec, tags or attributes.
        """
        self.envelope = envelope

    def get(self, key: str, *, deadline: float | None = None) -> Entry | None:
        """Return the entry, stale ones included, with one GET; None when it is absent, expired or archived."""
        entry = self._fetch(self._name(key), key, self.due(deadline))
        return entry if entry is not None and entry.metadata.is_usable(self.clock()) else None

    def head(self, key: str, *, deadline: float | None = None) -> Metadata | None:
        """Return the metadata from the mirror, or from the envelope where the mirror is incomplete."""
        name, due = self._name(key), self.due(deadline)
        if self.envelope.sealed:  # a mirror has no tag
            entry = self._fetch(name, key, due)
            metadata = None if entry is None else entry.metadata
        else:
            info = self.objects.stat(name, deadline=due)
            metadata = None if info is None else self._describe(info, key, due)
        return metadata if metadata is not None and metadata.is_usable(self.clock()) else None

    def put(
        self,
        key: str,
        entry: Entry,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        deadline: float | None = None,
    ) -> bool:
        """Store the entry with one PUT and return whether it was written (see `Backend.put`).

        Raises:
            ConfigurationError: it asks for a storage class that the store has not, or that cannot serve a cache.
        """
        if if_absent and if_match is not None:
            raise ConfigurationError("put takes if_absent or if_match, not both")
        name, due = self._name(key), self.due(deadline)
        if len(entry.payload) > self.max_entry_bytes:
            raise EntryTooLarge(
                f"the payload has {len(entry.payload):,} bytes, this tier takes {self.max_entry_bytes:,}"
                " (max_entry_bytes)"
            )
        body = self.envelope.encode(entry)
        # Decoded again: the mirror tells what the envelope holds, and nothing of another key is ever stored here.
        stored = self.envelope.decode(body, key, max_payload=self.max_entry_bytes).metadata
        mirror = to_user_metadata(stored, self.objects.mirror_bytes, hidden=is_encrypted(body))
        upload = Upload(name, body, mirror, stored.gone_at, self.class_of(entry))

        def write(if_absent: bool = False, if_match: str | None = None) -> bool:
            written = self.objects.write(upload, if_absent=if_absent, if_match=if_match, deadline=due)
            if written:
                rules = self.rules.get(upload.storage_class or self.storage_class or "")
                self._advisor.wrote(rules, remaining_life(stored, self.clock()), len(body))
            return written

        written = write(if_absent, if_match)
        if not written and not if_absent and if_match is None:
            raise BackendUnavailable(
                "the store refused the write for the sake of another; try again later", tier_wide=False
            )
        if written or not if_absent:
            return written
        info = self.objects.stat(name, deadline=due)
        if info is None:  # deleted since
            return write(if_absent=True)
        return not self._holds_entry(info, key, due) and info.etag is not None and write(if_match=info.etag)

    def delete(self, key: str, *, deadline: float | None = None) -> bool:
        """Remove the object (HEAD, DELETE) and return whether it held an entry that could still be read."""
        name, due = self._name(key), self.due(deadline)
        info = self.objects.stat(name, deadline=due)
        if info is None:
            return False
        held = self._holds_entry(info, key, due)
        self.objects.remove(name, deadline=due)
        return held

    def get_many(self, keys: Sequence[str], *, deadline: float | None = None) -> dict[str, Entry]:
        """Return the entries that are there, with parallel GETs; on a deadline, `PartialFailure` carries the rest."""
        return self.side_by_side(keys, lambda key, due: self.get(key, deadline=due), deadline)

    def put_many(self, entries: Mapping[str, Entry], *, deadline: float | None = None) -> None:
        """Store the entries with parallel PUTs; the `results` of a `PartialFailure` are the keys that were stored."""
        self.side_by_side(entries, lambda key, due: self.put(key, entries[key], deadline=due), deadline)

    def delete_many(self, keys: Sequence[str], *, deadline: float | None = None) -> int:
        """Remove the objects with bulk deletes and return how many of these keys are now absent."""
        self.due(deadline)
        key_of = {self._name(key): key for key in keys}
        removed, failed, waiting = 0, dict[str, BackendError](), iter(key_of)
        while names := list(islice(waiting, self.objects.bulk_delete)):
            try:
                errors = self._remove(names, deadline)
            except BackendError as error:
                failed |= {key_of[name]: error for name in [*names, *waiting]}
            else:
                failed |= {key_of[name]: error for name, error in errors.items()}
                removed += len(names) - len(errors)
        if failed:
            raise PartialFailure(failed, removed)
        return removed

    def scan(
        self, prefix: str = "", *, full: bool = False, deadline: float | None = None
    ) -> Iterator[tuple[str, Metadata]]:
        """Yield key and metadata page by page (see the class for what a listing knows)."""
        for page in self._pages(prefix, deadline):
            whole = {key: info for key, info in page if key is not None}
            told = {key: None if self.envelope.sealed else known(key, info) for key, info in whole.items()}
            unknown = [key for key, metadata in told.items() if metadata is None] if full else []
            looked_at = self._look_at(unknown, lambda key, due: self.head(key, deadline=due), deadline)
            now = self.clock()
            for key, info in whole.items():
                metadata = told[key] or looked_at.get(key)
                if metadata is not None and metadata.is_usable(now):
                    yield key, metadata
                elif metadata is None and not full:
                    yield key, guessed(key, info)
            cut = [info.name for key, info in page if key is None]
            for metadata in self._look_at(cut, self._read_cut, deadline).values():
                if metadata.key.startswith(prefix):
                    yield metadata.key, metadata

    def clear(self, prefix: str = "", *, deadline: float | None = None) -> int:
        """Delete every object whose key starts with `prefix` and return how many; a failing request ends it.

        Expired, damaged and archived ones go too. It costs a listing and a bulk delete for each thousand; a prefix
        over 800 encoded bytes costs a GET more for each key that is as long.
        """
        if not keys.is_listable(prefix):
            return super().clear(prefix, deadline=deadline)
        removed, failed = 0, dict[str, BackendError]()
        for page in self._pages(prefix, deadline, archived=True):
            key_of = {info.name: key or info.name for key, info in page}
            waiting = iter(key_of)
            while names := list(islice(waiting, self.objects.bulk_delete)):
                errors = self._remove(names, deadline)
                failed |= {key_of[name]: error for name, error in errors.items()}
                removed += len(names) - len(errors)
        if failed:
            raise PartialFailure(failed, removed)
        return removed

    def ping(self, *, deadline: float | None = None) -> None:
        """Return when the bucket can be listed; raise what keeps it from serving."""
        self.objects.probe(self.prefix, deadline=self.due(deadline))

    def advise(self, ttl: float | None, storage_class: str | None = None, *, object_bytes: int | None = None) -> None:
        """Give the one `StorageClassWarning` of this backend, if its class does not suit entries of this life.

        A `Cache` calls this when it is made; otherwise the first `put` that shows it gives the warning.

        Args:
            ttl: seconds that entries live; None: for ever.
            storage_class: that a rule of the tier puts them all into; None: the backend's own.
            object_bytes: what an object has in which many entries are packed: from now on its size is what counts,
                and no longer that of an entry or of what is put here singly. None: as it was.
        """
        if object_bytes is not None:
            self._advisor.packs(object_bytes)
        rules = self.rules.get(storage_class or self.storage_class or "")
        if rules is not None:
            self._advisor.before(rules, ttl)

    def rebuild(self) -> None:
        """Make the client anew with the next request: names are looked up again, and credentials."""
        self.objects.rebuild()

    def close(self) -> None:
        """Release connections and threads; requests under way end by themselves."""
        self._closed = True
        self._batches.close()
        self.objects.close()
        super().close()

    # Entries and objects

    def _name(self, key: str) -> str:
        return self.prefix + keys.object_name(keys.check_key(key))

    def class_of(self, entry: Entry) -> str | None:
        """The class that the entry asks for; None: the backend's own."""
        if entry.storage_class is None:
            return None
        return usable(self.rules, entry.storage_class, beside=self.storage_class).name

    def _fetch(self, name: str, key: str | None, due: float | None) -> Entry | None:
        """The entry in an object, expired or not."""
        found = self.objects.read(name, limit=self.max_entry_bytes + _ENVELOPE_OVERHEAD, deadline=due)
        if found is None:
            return None
        info, body = found
        entry = self.envelope.decode(body, key, max_payload=self.max_entry_bytes)
        return Entry(entry.payload, with_info(entry.metadata, info), entry.wire)

    def _describe(self, info: ObjectInfo, key: str, due: float | None, *, times_only: bool = False) -> Metadata | None:
        """The metadata of the entry in an object, expired or not; None when it is archived."""
        if info.archived:
            return None
        mirrored = from_user_metadata(info.user_metadata or {}, key)
        enough = mirrored is not None and (times_only or (mirrored.complete and not self.envelope.sealed))
        if mirrored is not None and enough and self.envelope.opens(mirrored.metadata.key_id):
            return with_info(mirrored.metadata, info)
        entry = self._fetch(info.name, key, due)
        return None if entry is None else entry.metadata

    def _holds_entry(self, info: ObjectInfo, key: str, due: float | None) -> bool:
        """Whether the object holds an entry that this release, or a later one, can return."""
        try:
            metadata = self._describe(info, key, due, times_only=True)
        except UnknownFormat:
            return True
        except CorruptEntry:
            return False
        return metadata is not None and metadata.is_usable(self.clock())

    # Batches and listings

    def due(self, deadline: float | None) -> float | None:
        """When an operation that begins now must end."""
        if self._closed:
            raise CacheClosed(f"this {type(self).__name__}")
        now = time.monotonic()
        if deadline is not None and deadline <= now:
            raise BackendTimeout("the deadline passed before the request was sent", tier_wide=False)
        return now + self.timeout if deadline is None and self.timeout is not None else deadline

    def _due_of_one(self, deadline: float | None) -> float | None:
        """When one operation of a batch must end: it has `timeout`, and no more than the batch has left."""
        due = self.due(None)
        return due if deadline is None else deadline if due is None else min(due, deadline)

    def due_in_bulk(self, deadline: float | None, count: int) -> float | None:
        """When one request about this many objects must end: it may take as long as ten about one."""
        due = self.due(deadline)
        if deadline is not None or self.timeout is None:
            return due
        return time.monotonic() + self.timeout * min(10, math.ceil(count / self.concurrency))

    def _remove(self, names: Sequence[str], deadline: float | None) -> Mapping[str, BackendError]:
        due = self.due_in_bulk(deadline, len(names))
        return self.objects.remove_many(dict.fromkeys(names), deadline=due)

    def side_by_side(
        self, names: Iterable[str], operation: Callable[[str, float | None], T | None], deadline: float | None
    ) -> dict[str, T]:
        """Perform an operation for each name in this backend's threads (see `tiercache.objectstore.parallel`)."""
        self.due(deadline)

        def one(name: str) -> T | None:
            return operation(name, self._due_of_one(deadline))

        return for_each(self._batches, names, one, deadline=deadline)

    def _look_at(
        self, names: Iterable[str], look: Callable[[str, float | None], Metadata | None], deadline: float | None
    ) -> dict[str, Metadata]:
        """`side_by_side` for a scan, which leaves out what is no intact entry."""
        try:
            return self.side_by_side(names, look, deadline)
        except PartialFailure as failure:
            return what_is_intact(failure)

    def _read_cut(self, name: str, due: float | None) -> Metadata | None:
        """The metadata of the object of a cut name, whose key only the envelope tells."""
        entry = self._fetch(name, None, due)
        if entry is None or self._name(entry.metadata.key) != name or not entry.metadata.is_usable(self.clock()):
            return None
        return entry.metadata

    def keys_of_cut(self, names: Iterable[str], *, deadline: float | None = None) -> dict[str, str]:
        """Return the keys of objects whose names were cut, with a GET each; what is no intact entry has none."""
        return {name: found.key for name, found in self._look_at(names, self._read_cut, deadline).items()}

    def _pages(self, prefix: str, deadline: float | None, *, archived: bool = False) -> Iterator[list[Listed]]:
        """The listing, page by page: entries of ours, the archived ones only when asked for."""
        start, token = self.prefix + keys.listing_prefix(prefix), None
        while True:
            page, token = page_of(self.objects, start, token, deadline=self.due(deadline))
            yield ours((info for info in page if archived or not info.archived), self.prefix, prefix)
            if token is None:
                return
