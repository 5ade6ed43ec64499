"""`Reader`: entries from memory and from segments, with as few requests as their places allow."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import msgspec

from .. import keys
from ..entry import Entry
from ..errors import BackendError, CorruptEntry, PartialFailure
from ..objectstore import ObjectStoreBackend
from ..objectstore.parallel import for_each, what_is_intact
from ..pool import DaemonPool
from .discovery import Discovery, Segment
from .newest import Newest
from .pending import Held
from .ranges import BYTES_PER_TIMEOUT, Fetch, Wanted, gap_of, plan
from .segment import digest_of


class Reader:
    """Reads entries.

    Args:
        inner: the store.
        newest: where the newest record of a key is.
        discovery: the segments.
    """

    def __init__(self, inner: ObjectStoreBackend, newest: Newest, discovery: Discovery) -> None:
        self._inner = inner
        self._newest = newest
        self._discovery = discovery
        self._pool = DaemonPool(inner.concurrency, "tiercache-ranges")

    def at_once(self, key: str) -> tuple[bool, Entry | None]:
        """Return whether no request is needed to answer, and the answer.

        With one look: what waits may be stored at any moment, so that another look would find that a request is needed.
        """
        place = self._newest.of(digest_of(key))
        if place is None:
            return True, None
        if isinstance(place, Held):
            return True, self.entry(place.record.data, key, place.kind.storage_class)
        return False, None

    def get(self, key: str, due: float | None) -> Entry | None:
        """Return an entry; a segment that is gone is looked for under another name once."""
        digest = digest_of(key)
        for attempt in (1, 2):
            place = self._newest.of(digest)
            if place is None:
                return None
            if isinstance(place, Held):
                return self.entry(place.record.data, key, place.kind.storage_class)
            segment = self._discovery.segments.get(place.segment)
            data = None if segment is None else self.range(segment, place.offset, place.length, due)
            if data is not None and segment is not None:
                return self.entry(data, key, segment.storage_class)
            if attempt == 1:
                self._discovery.missed([] if segment is None else [segment], due)
        return None

    def get_many(self, wanted: Sequence[str], deadline: float | None) -> dict[str, Entry]:
        """Return the entries that are there; near ones of a segment come with one request.

        Raises:
            PartialFailure: some could not be read.
        """
        batch = _Answers(self, {digest_of(keys.check_key(key)): key for key in wanted})
        gone = self._fetch(batch, batch.look_up(batch.key_of), deadline)
        if gone:
            try:
                known = [self._discovery.segments.get(each.segment) for each in gone]
                due = self._inner.due(deadline)  # from now on: what was read took its time
                self._discovery.missed([segment for segment in known if segment is not None], due)
            except BackendError as error:
                batch.failed |= {batch.key_of[each.digest]: error for each in gone}
            else:
                self._fetch(batch, batch.look_up([each.digest for each in gone]), deadline)
        found, failed = dict(batch.found), dict(batch.failed)  # requests that were late may still bring something
        if failed:
            raise PartialFailure(failed, found)
        return {key: found[key] for key in wanted if key in found}

    def get_what_is_intact(self, wanted: Sequence[str], deadline: float | None) -> dict[str, Entry]:
        """`get_many` for a scan, which leaves out what is damaged."""
        try:
            return self.get_many(wanted, deadline)
        except PartialFailure as failure:
            return what_is_intact(failure)

    def entry(self, data: bytes, key: str | None, storage_class: str | None) -> Entry | None:
        """Return the entry in an envelope; None: it is gone.

        Raises:
            CorruptEntry: it is no intact entry of that key.
        """
        entry = self._inner.envelope.decode(data, key, max_payload=self._inner.max_entry_bytes)
        if not entry.metadata.is_usable(self._inner.clock()):
            return None
        told = storage_class or self._inner.storage_class
        metadata = msgspec.structs.replace(entry.metadata, stored_size=len(data), storage_class=told)
        return Entry(entry.payload, metadata, entry.wire)

    def range(self, segment: Segment, start: int, length: int, due: float | None) -> bytes | None:
        """Return bytes of a segment with one GET; None: it is not there, or archived."""
        return self._inner.objects.read_range(segment.name, start, length, deadline=due)

    def place(self, digest: bytes) -> Held | Wanted | None:
        """Return a record that waits, or where it is to be read; None: there is none."""
        place = self._newest.of(digest)
        if place is None or isinstance(place, Held):
            return place
        return Wanted(digest, place.segment, place.offset, place.length)

    def close(self) -> None:
        """Let the threads go."""
        self._pool.close()

    def _fetch(self, batch: _Answers, wanted: list[Wanted], deadline: float | None) -> list[Wanted]:
        """Read records, and return those whose segments are gone."""
        gap = gap_of(self._inner.rules.get(self._inner.storage_class or ""))
        fetches = {str(number): fetch for number, fetch in enumerate(plan(wanted, gap))}
        gone: list[Wanted] = []

        def one(number: str) -> bool | None:
            fetch = fetches[number]
            segment = self._discovery.segments.get(fetch.segment)
            if segment is not None:
                data = self.range(segment, fetch.start, fetch.length, self._due_of(fetch, deadline))
                if data is not None:
                    batch.take(fetch, data, segment.storage_class)
                    return True
            gone.extend(fetch.wanted)
            return None

        try:
            for_each(self._pool, fetches, one, deadline=deadline)
        except PartialFailure as failure:
            for number, error in failure.failed.items():
                batch.failed |= {batch.key_of[each.digest]: error for each in fetches[number].wanted}
        return gone

    def _due_of(self, fetch: Fetch, deadline: float | None) -> float | None:
        timeout = self._inner.timeout
        if timeout is None:
            return deadline
        due = time.monotonic() + timeout * max(1.0, fetch.length / BYTES_PER_TIMEOUT)
        return due if deadline is None else min(due, deadline)


class _Answers:
    """What is known so far of a batch."""

    def __init__(self, reader: Reader, key_of: Mapping[bytes, str]) -> None:
        self._reader = reader
        self.key_of = key_of
        self.found: dict[str, Entry] = {}
        self.failed: dict[str, BackendError] = {}

    def look_up(self, digests: Sequence[bytes] | Mapping[bytes, str]) -> list[Wanted]:
        """Answer from memory what can be, and return what has to be read."""
        wanted: list[Wanted] = []
        for digest in digests:
            place = self._reader.place(digest)
            if isinstance(place, Held):
                self._decode(digest, place.record.data, place.kind.storage_class)
            elif place is not None:
                wanted.append(place)
        return wanted

    def take(self, fetch: Fetch, data: bytes, storage_class: str | None) -> None:
        """Decode what a request brought."""
        for digest, part in fetch.parts(data):
            self._decode(digest, part, storage_class)

    def _decode(self, digest: bytes, data: bytes, storage_class: str | None) -> None:
        key = self.key_of[digest]
        try:
            entry = self._reader.entry(data, key, storage_class)
        except CorruptEntry as error:
            self.failed[key] = error
        else:
            if entry is not None:
                self.found[key] = entry
