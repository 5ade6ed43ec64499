"""Where entries are copied from: the pages of any store, each entry read, and what cannot be read sorted by why."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from ..backend import Backend
from ..disk import DiskBackend
from ..entry import Entry, Metadata
from ..errors import BackendError, ConfigurationError, CorruptEntry, PartialFailure
from ..keys import object_name
from ..objectstore import ObjectStoreBackend
from ..objectstore.mirror import from_user_metadata
from ..packed import PackedBackend
from ..packed.backend import is_reserved
from ..packed.origins import PAGE, Item, Objects, Origin, Page, Segments
from ..packed.segment import digest_of
from .opaque import is_opaque, known_as
from .patience import AGAIN, PASSING, PAUSES, check_up, wait

AFTER = "after:"
"""What the token of a store that lists its keys in their order begins with."""
READ_SECONDS = 120.0
"""Seconds that a batch may take."""


class Listed(Origin):
    """A store that is neither of objects nor packed. Its tokens are keys where it lists in their order."""

    def __init__(self, backend: Backend, prefix: str) -> None:
        super().__init__(backend, prefix)
        self.said: dict[str, Metadata] = {}  # of the page under way: what the listing says beside sealed bytes
        self._ordered = isinstance(backend, DiskBackend)

    def pages(self, resume: str | None, limit: Callable[[], int]) -> Iterator[Page]:
        """Yield what a scan does, from the token on."""
        after = b""
        if resume and resume != AGAIN:
            if not (self._ordered and resume.startswith(AFTER)):
                raise ConfigurationError("this token is of another source; begin without it, what is there is skipped")
            after = resume.removeprefix(AFTER).encode()
        found = (
            (key, metadata)
            for key, metadata in self.backend.scan(self.prefix)
            if not is_reserved(key) and not (after and key.encode() <= after)
        )
        while page := list(islice(found, max(1, min(PAGE, limit())))):
            self.said = dict(page)
            last = page[-1][0]
            items = [
                Item(key, metadata.stored_size or metadata.size, metadata.created_at, metadata.etag)
                for key, metadata in page
            ]
            yield Page(items, AFTER + last if self._ordered else AGAIN)
        yield Page([], None)

    def remove(self, items: Sequence[Item]) -> int:
        """Delete the keys."""
        return self.backend.delete_many([item.key for item in items])


class Source:
    """Reads the entries of an origin.

    Args:
        origin: the store's.
    """

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.backend = origin.backend

    def read(self, items: Sequence[Item]) -> tuple[dict[str, Entry], dict[str, BackendError]]:
        """Return the entries that are there, and why others could not be read.

        Raises:
            BackendError: none could, several times, or the store is down.
        """
        entries: dict[str, Entry] = {}
        failed: dict[str, BackendError] = {}
        left, errors = [item.key for item in items], dict[str, BackendError]()
        for pause in (*PAUSES, None):
            found, errors = self._attempt(left)
            entries |= found
            left = [key for key in left if isinstance(errors.get(key), PASSING)]
            failed |= {key: error for key, error in errors.items() if key not in left}
            if not left or pause is None:
                break
            wait(pause, errors[left[0]])
        failed |= {key: errors[key] for key in left}
        lost = [error for error in failed.values() if not isinstance(error, CorruptEntry)]
        if lost:
            check_up(self.backend, lost[0], len(lost), len(items))
        sealed = [key for key, entry in entries.items() if is_opaque(entry)]
        if sealed:
            said, unsaid = self._said(sealed)
            failed |= unsaid
            entries = {
                key: known_as(entry, said[key]) if key in said else entry
                for key, entry in entries.items()
                if key not in unsaid
            }
        return entries, failed

    def _attempt(self, wanted: Sequence[str]) -> tuple[dict[str, Entry], dict[str, BackendError]]:
        try:
            return self.backend.get_many(wanted, deadline=time.monotonic() + READ_SECONDS), {}
        except PartialFailure as failure:
            return failure.results or {}, failure.failed
        except PASSING as error:
            return {}, dict.fromkeys(wanted, error)

    def _said(self, sealed: Sequence[str]) -> tuple[dict[str, Metadata], dict[str, BackendError]]:
        """What the store says beside opaque entries, and why it does not; of objects that takes a HEAD each."""
        backend = self.backend
        if isinstance(self.origin, Listed):
            return {key: self.origin.said[key] for key in sealed if key in self.origin.said}, {}
        if isinstance(backend, PackedBackend):
            return {key: said for key in sealed if (said := _indexed(backend, key)) is not None}, {}
        if not isinstance(backend, ObjectStoreBackend):
            return {}, {}
        store = backend

        def look(key: str, due: float | None) -> Metadata | None:
            info = store.objects.stat(store.prefix + object_name(key), deadline=due)
            mirrored = None if info is None else from_user_metadata(info.user_metadata or {}, key)
            return None if mirrored is None else mirrored.metadata

        try:
            return store.side_by_side(sealed, look, None), {}
        except PartialFailure as failure:
            return failure.results or {}, failure.failed


def _indexed(backend: PackedBackend, key: str) -> Metadata | None:
    found = backend.discovery.catalogue.find(digest_of(key))
    if found is None:
        return None
    return Metadata(key=key, created_at=found.stamp / 1000, expires_at=found.gone_at or None)


def source_from(backend: Backend, prefix: str) -> Source:
    """Return how the entries of a store are read."""
    if isinstance(backend, PackedBackend):
        return Source(Segments(backend, prefix))
    return Source((Objects if isinstance(backend, ObjectStoreBackend) else Listed)(backend, prefix))


def total_of(backend: Backend, prefix: str) -> int | None:
    """Return how many entries a store has, where it counts them; None: only a listing would tell."""
    usage = getattr(backend, "usage", None)
    if prefix or usage is None or isinstance(backend, ObjectStoreBackend):
        return None
    entries: int = usage()[0]
    return entries
