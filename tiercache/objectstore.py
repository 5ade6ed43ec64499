"""`ObjectStoreBackend`: all that S3, Google Cloud Storage and Azure Blob share.

One entry is one object: its body is the envelope, its name the backend's prefix and the percent-encoded key, its
user metadata the mirror (see `tiercache.mirror`). A read is one request, a write is one request.

A vendor's backend implements the seven primitives at the end of the class, which know objects and nothing of
entries, and maps its SDK's exceptions to `tiercache.errors` in them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from . import envelope, keys
from .backend import Backend
from .entry import Clock, Entry, Metadata
from .errors import (
    BackendError,
    BackendTimeout,
    CacheClosed,
    ConfigurationError,
    CorruptEntry,
    EntryTooLarge,
    PartialFailure,
    UnknownFormat,
)
from .mirror import from_user_metadata, to_user_metadata
from .pool import DaemonPool
from .units import Duration, Size, parse_duration, parse_size

CONTENT_TYPE = "application/vnd.tiercache.entry"
MAX_PREFIX_BYTES = 1024 - keys.MAX_NAME_BYTES
_ENVELOPE_OVERHEAD = envelope.MAX_HEADER_BYTES + 256


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store tells of an object without its body.

    Attributes:
        name: the whole name, with the backend's prefix.
        size: bytes of the body.
        etag: the version, as conditional writes take it.
        storage_class: the class that the object is in.
        modified_at: when it was written, Unix seconds; 0 when unknown.
        archived: whether it must be restored before it can be read: for a cache it is not there.
        user_metadata: the mirror; None where the store did not tell (a listing).
    """

    name: str
    size: int
    etag: str | None = None
    storage_class: str | None = None
    modified_at: float = 0.0
    archived: bool = False
    user_metadata: Mapping[str, str] | None = None


class ObjectStoreBackend(Backend):
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
        prefix: what the names of all objects start with; empty or ending in `/`.
        max_entry_bytes: the largest payload that is written or read.
        bulk_delete: names in one bulk delete of this store.
        mirror_bytes: bytes of user metadata that this store takes.
    """

    persistent = True
    bulk_delete = 1000
    mirror_bytes = 2048

    def __init__(
        self,
        *,
        prefix: str = "",
        timeout: Duration | None = 2.0,
        max_concurrency: int = 16,
        max_entry_bytes: Size = "16MiB",
        clock: Clock = time.time,
    ) -> None:
        if isinstance(max_concurrency, bool) or not isinstance(max_concurrency, int) or max_concurrency < 1:
            raise ConfigurationError("max_concurrency must be a positive number of requests")
        self.prefix = _checked_prefix(prefix)
        self.timeout = None if timeout is None else parse_duration(timeout, "timeout")
        self.concurrency = max_concurrency
        self.max_entry_bytes = parse_size(max_entry_bytes, "max_entry_bytes")
        self.clock = clock
        self._closed = False
        # Not the pool of the a-twins: a batch that waits in that one for its own threads would wait for ever.
        self._batches = DaemonPool(max_concurrency, f"tiercache-{self.scheme}-batch")

    def get(self, key: str, *, deadline: float | None = None) -> Entry | None:
        """Return the entry, stale ones included, with one GET; None when it is absent, expired or archived."""
        entry = self._fetch(self._name(key), key, self._due(deadline))
        return entry if entry is not None and entry.metadata.is_usable(self.clock()) else None

    def head(self, key: str, *, deadline: float | None = None) -> Metadata | None:
        """Return the metadata from the mirror, or from the envelope where the mirror is incomplete."""
        due = self._due(deadline)
        info = self._stat(self._name(key), deadline=due)
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
        """Store the entry with one PUT and return whether it was written (see `Backend.put`)."""
        if if_absent and if_match is not None:
            raise ConfigurationError("put takes if_absent or if_match, not both")
        name, due = self._name(key), self._due(deadline)
        if len(entry.payload) > self.max_entry_bytes:
            raise EntryTooLarge(
                f"the payload has {len(entry.payload):,} bytes, this tier takes {self.max_entry_bytes:,}"
                " (max_entry_bytes)"
            )
        body = envelope.encode(entry)
        # Decoded again: the mirror tells what the envelope holds, and nothing of another key is ever stored here.
        stored = envelope.decode(body, key, max_payload=self.max_entry_bytes).metadata
        mirror = to_user_metadata(stored, self.mirror_bytes)

        def write(if_absent: bool = False, if_match: str | None = None) -> bool:
            return self._write(name, body, mirror, if_absent=if_absent, if_match=if_match, deadline=due)

        written = write(if_absent, if_match)
        if written or not if_absent:
            return written
        info = self._stat(name, deadline=due)
        if info is None:  # deleted since
            return write(if_absent=True)
        return not self._holds_entry(info, key, due) and info.etag is not None and write(if_match=info.etag)

    def delete(self, key: str, *, deadline: float | None = None) -> bool:
        """Remove the object (HEAD, DELETE) and return whether it held an entry that could still be read."""
        name, due = self._name(key), self._due(deadline)
        info = self._stat(name, deadline=due)
        if info is None:
            return False
        held = self._holds_entry(info, key, due)
        self._remove(name, deadline=due)
        return held

    def get_many(self, keys: Sequence[str], *, deadline: float | None = None) -> dict[str, Entry]:
        """Return the entries that are there, with parallel GETs; on a deadline, `PartialFailure` carries the rest."""
        return self._side_by_side(keys, lambda key, due: self.get(key, deadline=due), deadline)

    def put_many(self, entries: Mapping[str, Entry], *, deadline: float | None = None) -> None:
        """Store the entries with parallel PUTs."""
        self._side_by_side(entries, lambda key, due: self.put(key, entries[key], deadline=due), deadline)

    def delete_many(self, keys: Sequence[str], *, deadline: float | None = None) -> int:
        """Remove the objects with bulk deletes and return how many of these keys are now absent."""
        self._due(deadline)
        failed: dict[str, BackendError] = {}
        removed = self._remove_all({self._name(key): key for key in keys}, failed, deadline)
        if failed:
            raise PartialFailure(failed, removed)
        return removed

    def scan(
        self, prefix: str = "", *, full: bool = False, deadline: float | None = None
    ) -> Iterator[tuple[str, Metadata]]:
        """Yield key and metadata page by page (see the class for what a listing knows)."""
        for page in self._pages(prefix, deadline):
            known = {key: info for info in page if (key := self._key(info)) is not None}
            cut = [info for info in page if keys.is_cut(info.name[len(self.prefix) :])]
            if full:
                yield from self._look_at(known, lambda key, due: self.head(key, deadline=due), deadline)
            else:
                yield from ((key, _listed(key, info)) for key, info in known.items() if not info.archived)
            names = [info.name for info in cut if not info.archived]
            for _, metadata in self._look_at(names, self._read_cut, deadline):
                if metadata.key.startswith(prefix):
                    yield metadata.key, metadata

    def clear(self, prefix: str = "", *, deadline: float | None = None) -> int:
        """Delete every object whose key starts with `prefix`, damaged and expired ones too; return how many.

        A listing and a bulk delete for each thousand. A prefix over 800 encoded bytes costs a GET for each key that
        is as long.
        """
        if keys.encode_prefix(prefix) != keys.listing_prefix(prefix):
            return super().clear(prefix, deadline=deadline)
        removed, failed = 0, dict[str, BackendError]()
        for page in self._pages(prefix, deadline):
            removed += self._remove_all({i.name: self._key(i) or i.name for i in page}, failed, deadline)
        if failed:
            raise PartialFailure(failed, removed)
        return removed

    def ping(self, *, deadline: float | None = None) -> None:
        """Return when the bucket can be listed; raise what keeps it from serving."""
        self._probe(deadline=self._due(deadline))

    def close(self) -> None:
        """Release connections and threads; requests under way end by themselves."""
        self._closed = True
        self._batches.close()
        self._disconnect()
        super().close()

    # Entries and objects

    def _name(self, key: str) -> str:
        return self.prefix + keys.object_name(keys.check_key(key))

    def _key(self, info: ObjectInfo) -> str | None:
        return keys.key_of(info.name[len(self.prefix) :])

    def _fetch(self, name: str, key: str | None, due: float | None) -> Entry | None:
        """The entry in an object, expired or not."""
        found = self._read(name, limit=self.max_entry_bytes + _ENVELOPE_OVERHEAD, deadline=due)
        if found is None:
            return None
        info, body = found
        entry = envelope.decode(body, key, max_payload=self.max_entry_bytes)
        return Entry(entry.payload, _with_info(entry.metadata, info), entry.wire)

    def _describe(self, info: ObjectInfo, key: str, due: float | None) -> Metadata | None:
        """The metadata of the entry in an object, expired or not; None when it is archived."""
        if info.archived:
            return None
        mirrored = from_user_metadata(info.user_metadata or {}, key)
        if mirrored is not None and mirrored.complete:
            return _with_info(mirrored.metadata, info)
        entry = self._fetch(info.name, key, due)
        return None if entry is None else entry.metadata

    def _holds_entry(self, info: ObjectInfo, key: str, due: float | None) -> bool:
        """Whether the object holds an entry that this release, or a later one, can return."""
        try:
            metadata = self._describe(info, key, due)
        except UnknownFormat:
            return True
        except CorruptEntry:
            return False
        return metadata is not None and metadata.is_usable(self.clock())

    # Batches and listings

    def _due(self, deadline: float | None) -> float | None:
        """When an operation that begins now must end."""
        if self._closed:
            raise CacheClosed(f"this {type(self).__name__}")
        now = time.monotonic()
        if deadline is not None and deadline <= now:
            raise BackendTimeout("the deadline passed before the request was sent")
        return now + self.timeout if deadline is None and self.timeout is not None else deadline
