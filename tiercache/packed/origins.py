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
from ..errors import BackendUnavailable, ConfigurationError, PartialFailure
from ..objectstore import ObjectStoreBackend
from ..objectstore.faults import Conflict, Refused
from ..objectstore.listing import ours, page_of
from ..objectstore.parallel import what_is_intact
from .backend import PackedBackend, is_reserved
from .beneath import place_of
from .discovery import Segment
from .listing import contents_of
from .segment import Located, digest_of

PAGE = 1000
LOAD_SECONDS = 600.0
"""Seconds that the catalogue of the segments may take to load."""
ROUNDS = 10
"""Times that segments are looked for again which were written since: somebody may be writing all the time."""


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

    def token(self, last: str) -> str:
        """Return the token of what follows `last`, which is good for this source and prefix alone; "" for ""."""
        return f"{self._mark()}:{last}" if last else ""

    def last(self, token: str | None) -> str:
        """Return what `token` was made of; "" for none.

        Raises:
            ConfigurationError: it is of another place, or for another prefix: entries would be passed over.
        """
        mark, _, last = (token or "").partition(":")
        if token and mark != self._mark():
            raise ConfigurationError(
                "resume is of another source, or of another prefix; begin without it, what is there is skipped"
            )
        return last

    def _mark(self) -> str:
        store = self.backend.inner if isinstance(self.backend, PackedBackend) else self.backend
        assert isinstance(store, ObjectStoreBackend)  # noqa: S101 - others have no tokens
        return place_of(store, self.prefix, type(self).__name__).hex()[:16]

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
    """One object an entry. The token is of the last name, or the store's own where it cannot begin at a name."""

    backend: ObjectStoreBackend

    def pages(self, resume: str | None, limit: Callable[[], int]) -> Iterator[Page]:
        """Yield a page of the listing at a time; segments in the same place are no entries."""
        backend = self.backend
        start = backend.prefix + keys.listing_prefix(self.prefix)
        by_name = backend.objects.lists_from
        said = self.last(resume) or None
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
                following = self.token((last or "").removeprefix(backend.prefix) if by_name else token)
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
    """Packed. The token is the ULID of the last segment before which nothing is left."""

    backend: PackedBackend

    def pages(self, resume: str | None, limit: Callable[[], int]) -> Iterator[Page]:
        """Yield a segment at a time, the oldest first, with those of its entries that are the newest of their keys."""
        backend, start = self.backend, self.last(resume)
        done, seen, went = start, set[str](), False
        backend.begin(time.monotonic() + LOAD_SECONDS)

        def new() -> list[Segment]:
            return [
                each for each in backend.discovery.known() if start < each.parts.ulid and each.parts.ulid not in seen
            ]

        for _ in range(ROUNDS):
            backend.flush()
            look = backend.discovery.refresh_whole if went else backend.discovery.refresh
            look(time.monotonic() + LOAD_SECONDS)
            if backend.discovery.catalogue.full:
                raise ConfigurationError("the source's catalogue is full; give it a larger max_entries")
            if not (segments := new()):
                break
            went = False
            for segment in segments:
                seen.add(segment.parts.ulid)
                listed = contents_of(backend, segment, None)
                if listed is None:  # it was merged into one that is not known yet, whose name may be an earlier one
                    went = True
                    continue
                if not went and not any(late.parts.ulid < segment.parts.ulid for late in new()):
                    done = max(done, segment.parts.ulid)
                yield self._page(segment, listed, self.token(done))
        else:
            if went:
                raise BackendUnavailable("segments are merged again and again; resume when that is over")
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
