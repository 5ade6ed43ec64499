"""Where entries are moved from: page by page, each with a token that a later run goes on from."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from .. import keys
from ..backend import Backend
from ..entry import Entry
from ..errors import ConfigurationError, PartialFailure
from ..objectstore import ObjectStoreBackend
from ..objectstore.faults import Conflict, Refused
from ..objectstore.listing import ours, page_of
from ..objectstore.parallel import what_is_intact
from .backend import PackedBackend, is_reserved
from .discovery import Segment
from .listing import contents_of
from .segment import Located, digest_of

PAGE = 1000
LOAD_SECONDS = 600.0
"""Seconds that the catalogue of the segments may take to load."""
ROUNDS = 10
"""Times that segments are looked for again which were written since: somebody may be writing all the time."""
AFTER, TOKEN = "after:", "token:"


class Item(NamedTuple):
    """An entry that is to be moved.

    Attributes:
        key: the full stored key.
        size: bytes that it takes.
        written_at: Unix seconds.
        version: what `Origin.remove` compares.
    """

    key: str
    size: int
    written_at: float
    version: str | int | None


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries, in the order in which they are read best.

    Attributes:
        items: the entries.
        resume: what goes on behind this page; "": only from the beginning; None: it is the last.
        expired, damaged: entries that are left out.
    """

    items: list[Item]
    resume: str | None
    expired: int = 0
    damaged: int = 0


class Origin(ABC):
    """A source.

    Args:
        backend: what holds the entries.
        prefix: of their keys.
    """

    def __init__(self, backend: Backend, prefix: str) -> None:
        self.backend = backend
        self.prefix = prefix

    @abstractmethod
    def pages(self, resume: str | None, limit: Callable[[], int]) -> Iterator[Page]:
        """Yield the entries behind `resume`; no page has more than `limit()` where it can be cut."""

    def read(self, items: Sequence[Item]) -> tuple[dict[str, Entry], set[str]]:
        """Return the entries that are there, and the keys of those that cannot be read.

        Raises:
            BackendError: the store failed.
        """
        return read_intact(self.backend, [item.key for item in items])

    @abstractmethod
    def remove(self, items: Sequence[Item]) -> int:
        """Delete entries, unless they changed since where that can be told; return how many are gone."""


class Objects(Origin):
    """One object an entry. The token is the last name, or the store's own where it cannot begin at a name."""

    backend: ObjectStoreBackend

    def pages(self, resume: str | None, limit: Callable[[], int]) -> Iterator[Page]:
        """Yield a page of the listing at a time; segments in the same place are no entries."""
        backend = self.backend
        start = backend.prefix + keys.listing_prefix(self.prefix)
        by_name = backend.objects.lists_from
        if resume and not resume.startswith(AFTER if by_name else TOKEN):
            raise ConfigurationError("resume is of another source; begin without it, what is there is skipped")
        said = None if not resume else resume.removeprefix(AFTER).removeprefix(TOKEN)
        token, after = (None, said and backend.prefix + said) if by_name else (said, None)
        last = after
        while True:
            page, token = page_of(
                backend.objects, start, token, after=after, limit=min(PAGE, limit()), deadline=backend.due(None)
            )
            last = max((info.name for info in page), default=last) if by_name else last
            found = ours((info for info in page if not info.archived), backend.prefix, self.prefix)
            cut = [listed.info.name for listed in found if listed.key is None]
            key_of = backend.keys_of_cut(cut) if cut else {}
            items = [
                Item(key, info.size, info.modified_at, info.etag)
                for key, info in ((key or key_of.get(info.name), info) for key, info in found)
                if key is not None and key.startswith(self.prefix) and not is_reserved(key)
            ]
            following = None
            if token is not None:
                following = f"{AFTER}{(last or '').removeprefix(backend.prefix)}" if by_name else f"{TOKEN}{token}"
            yield Page(items, following, damaged=len(cut) - len(key_of))
            if token is None:
                return

    def remove(self, items: Sequence[Item]) -> int:
        """Delete the objects in bulk; one that was written again stays, where the store can tell."""
        backend, waiting, gone = self.backend, iter(items), 0
        while some := list(islice(waiting, backend.objects.bulk_delete)):
            versions = {backend.prefix + keys.object_name(item.key): str(item.version or "") or None for item in some}
            due = backend.due_in_bulk(None, len(some))
            errors = backend.objects.remove_many(versions, deadline=due)
            for error in errors.values():
                if not isinstance(error, (Refused, Conflict)):
                    raise error
            gone += len(some) - len(errors)
        return gone


class Segments(Origin):
    """Packed. The token is the ULID of the last whole segment."""

    backend: PackedBackend

    def pages(self, resume: str | None, limit: Callable[[], int]) -> Iterator[Page]:
        """Yield a segment at a time, the oldest first, with those of its entries that are the newest of their keys."""
        backend, done = self.backend, resume or ""
        if ":" in done:
            raise ConfigurationError("resume is of another source; begin without it, what is there is skipped")
        backend.begin(time.monotonic() + LOAD_SECONDS)
        for _ in range(ROUNDS):
            backend.flush()
            backend.discovery.refresh(time.monotonic() + LOAD_SECONDS)
            new = [segment for segment in backend.discovery.known() if segment.parts.ulid > done]
            if not new:
                break
            for segment in new:
                done = segment.parts.ulid
                listed = contents_of(backend, segment, None)
                if listed is None:  # it was merged into one with a later name
                    backend.discovery.forget(segment)
                    continue
                yield self._page(segment, listed, done)
        yield Page([], None)

    def remove(self, items: Sequence[Item]) -> int:
        """Write tombstones, stamped just above what they hide: a later write of any process stays."""
        backend, due = self.backend, time.monotonic() + LOAD_SECONDS
        batches = [
            backend.changes.bury(digest_of(item.key), due, expected=item.version)
            for item in items
            if isinstance(item.version, int)
        ]
        stored = [batch for batch in batches if batch is not None]
        backend.changes.stored(set(stored), due)
        return len(stored)

    def _page(self, segment: Segment, listed: list[tuple[Located, str]], done: str) -> Page:
        if not listed:
            return Page([], done, damaged=segment.parts.count)
        now, expired, live = self.backend.inner.clock(), 0, []
        for place, key in listed:
            if not place.length or not key.startswith(self.prefix):
                continue
            found = self.backend.discovery.catalogue.find(place.digest)
            if found is None or found.segment != segment.number:
                continue
            if place.gone_at and place.gone_at <= now:
                expired += 1
            elif self.backend.newest.of(place.digest) == found:  # it does not wait to be replaced, nor may be already
                live.append((place.offset, Item(key, place.length, place.stamp / 1000, place.stamp)))
        return Page([item for _, item in sorted(live)], done, expired)


class Scanned(Origin):
    """Any other backend, which cannot be begun in the middle."""

    def pages(self, resume: str | None, limit: Callable[[], int]) -> Iterator[Page]:
        """Yield what a scan does."""
        if resume:
            raise ConfigurationError(
                "this source cannot go on from a token; begin without it, what is there is skipped"
            )
        found = (
            Item(key, metadata.stored_size or metadata.size, metadata.created_at, metadata.etag)
            for key, metadata in self.backend.scan(self.prefix)
            if not is_reserved(key)
        )
        while items := list(islice(found, PAGE)):
            yield Page(items, "")
        yield Page([], None)

    def remove(self, items: Sequence[Item]) -> int:
        """Delete the keys."""
        return self.backend.delete_many([item.key for item in items])


def origin_of(backend: Backend, prefix: str) -> Origin:
    """Return how entries are read from a backend."""
    if isinstance(backend, PackedBackend):
        return Segments(backend, prefix)
    return (Objects if isinstance(backend, ObjectStoreBackend) else Scanned)(backend, prefix)


def read_intact(backend: Backend, wanted: Sequence[str]) -> tuple[dict[str, Entry], set[str]]:
    """Return the entries that are there, and the keys of those that cannot be read.

    Raises:
        BackendError: the store failed.
    """
    try:
        return backend.get_many(wanted), set()
    except PartialFailure as failure:
        return what_is_intact(failure), set(failure.failed)
