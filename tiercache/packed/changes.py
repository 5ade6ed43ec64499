"""`Changes`: puts and deletes become records that wait for a segment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ..entry import Entry
from ..errors import BackendError, CorruptEntry, EntryTooLarge
from ..keys import check_key
from ..objectstore import ObjectStoreBackend
from .naming import BUCKETS, KEEP, bucket_of
from .newest import MOST_STAMP, Newest
from .pending import OVERHEAD, Batch, Held, Kind, Pending
from .segment import Record, digest_of, gone_second
from .writer import await_first_attempts, why_not


class Changes:
    """Makes records of changes.

    Args:
        inner: the store.
        pending: where records wait.
        newest: where the newest record of a key is.
    """

    def __init__(self, inner: ObjectStoreBackend, pending: Pending, newest: Newest) -> None:
        self._inner = inner
        self._pending = pending
        self._newest = newest

    def put(
        self, key: str, entry: Entry, due: float | None, *, expected: int | None = None, made: int | None = None
    ) -> Batch | None:
        """Let an entry wait; None: the newest record has another stamp than was `expected`.

        Args:
            key: the full stored key.
            entry: what to store.
            due: when there must be room for it.
            expected: of the newest record; 0: there is none.
            made: stamp of an entry that comes from elsewhere: whatever is written since is newer, by whichever process.

        Raises:
            EntryTooLarge: its payload is larger than the store takes.
            BackendError: there is no room for it (see `Pending.put`).
        """
        inner, newest = self._inner, self._newest
        digest = digest_of(check_key(key))
        if entry.metadata.key != key:
            raise CorruptEntry("the entry belongs to another key")
        if len(entry.payload) > inner.max_entry_bytes:
            raise EntryTooLarge(
                f"the payload has {len(entry.payload):,} bytes, this tier takes {inner.max_entry_bytes:,}"
                " (max_entry_bytes)"
            )
        data = inner.envelope.encode(entry)
        storage_class = inner.class_of(entry)
        gone_at = entry.metadata.gone_at
        bucket = bucket_of(None if gone_at is None else gone_at - inner.clock())

        def make(before: Held | None) -> Held | None:
            known, found = newest.known(digest)
            if expected is not None and known != expected:
                return None
            stamp = newest.next_stamp(known) if made is None else min(max(made, known + 1), MOST_STAMP)
            record = Record(digest, stamp, gone_second(gone_at), data, key)
            return Held(record, Kind(newest.bucket(found, bucket), storage_class))

        return self._pending.put(digest, make, size=len(data) + len(key) + OVERHEAD, deadline=due)

    def bury(
        self, digest: bytes, due: float | None, *, size: int = OVERHEAD, expected: int | None = None
    ) -> Batch | None:
        """Let a tombstone wait; return its batch where it hides something that is stored, or is being stored.

        With `expected` it hides the record of that stamp alone: nothing waits if there is a newer one by now, and one
        that another process writes meanwhile is newer than the tombstone.
        """
        newest, hides = self._newest, False
        # Nothing is known of the key: what another process is about to store may live for ever.
        bucket = KEEP if newest.stamp(digest) == 0 else BUCKETS[0][0]

        def make(before: Held | None) -> Held | None:
            nonlocal hides
            known, found = newest.known(digest)
            if expected is not None and known != expected:
                return None
            # With the lock held: what is being stored becomes what is stored only with it.
            hides = self._pending.withdraw(digest) or newest.hides(digest)
            stamp = newest.next_stamp(known) if expected is None else min(expected + 1, MOST_STAMP)
            record = Record(digest, stamp, 0, b"", "")
            return Held(record, Kind(newest.bucket(found, bucket), None, hides))

        batch = self._pending.put(digest, make, size=size, deadline=due)
        return batch if hides else None

    def put_many(self, entries: Mapping[str, Entry], due: float | None, *, wait: bool) -> dict[str, BackendError]:
        """Let entries wait, and return the errors of those that do not; with `wait`, also of those not stored.

        Raises:
            ConfigurationError, CacheClosed: they could not be stored, and that is no matter of single keys.
        """
        failed, batches = _each(entries, lambda key: self.put(key, entries[key], due))
        return failed | self._failures(batches, due) if wait else failed

    def bury_many(self, keys: Iterable[str], due: float | None) -> dict[str, BackendError]:
        """Store tombstones, and return the errors of the keys whose tombstone is not stored.

        Raises:
            ConfigurationError, CacheClosed: they could not be stored, and that is no matter of single keys.
        """
        failed, batches = _each(keys, lambda key: self.bury(digest_of(check_key(key)), due))
        return failed | self._failures(batches, due)

    def stored(self, batches: Iterable[Batch], due: float | None) -> None:
        """Return when these batches are stored; those that are still open are sealed now.

        Raises:
            BackendError, ConfigurationError: an attempt to store one failed, or took longer; it is still being tried.
        """
        for error in self._why_not(batches, due).values():
            raise error

    def _failures(self, batches: Mapping[str, Batch], due: float | None) -> dict[str, BackendError]:
        errors = self._why_not(batches.values(), due)
        failed: dict[str, BackendError] = {}
        for key, batch in batches.items():
            error = errors.get(batch)
            if isinstance(error, BackendError):
                failed[key] = error
            elif error is not None:
                raise error
        return failed

    def _why_not(self, batches: Iterable[Batch], due: float | None) -> dict[Batch, Exception]:
        waiting = set(batches)  # those that were given up already are among them: they fail
        if not waiting:
            return {}
        self._pending.seal(lambda batch: batch in waiting)
        await_first_attempts(waiting, due)
        return {batch: error for batch in waiting if (error := why_not(batch)) is not None}

    def restore(self, batch: Batch) -> None:
        """These records are given up: the older values that they were to replace must not come back.

        To be called while they still wait: there is no moment at which nothing hides those values.
        """
        for digest, held in list(batch.held.items()):
            if self._newest.hides(digest) or self._pending.is_elsewhere(digest, batch):
                # Of no size, in a thread that must not wait for room; not where there is a newer record by now.
                self.bury(digest, None, size=0, expected=held.record.stamp)


def _each(
    keys: Iterable[str], change: Callable[[str], Batch | None]
) -> tuple[dict[str, BackendError], dict[str, Batch]]:
    """Change each key, and return what failed, and what is to be stored."""
    failed: dict[str, BackendError] = {}
    batches: dict[str, Batch] = {}
    for key in keys:
        try:
            batch = change(key)
        except BackendError as error:
            failed[key] = error
        else:
            if batch is not None:
                batches[key] = batch
    return failed, batches
