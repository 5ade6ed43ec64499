"""`sweep`: expired objects are deleted, a page of the listing at a time, within a budget of requests.

An expired entry is a miss at once; its bytes stay, and are paid for, until something deletes them: a lifecycle rule
(`apply_lifecycle`, free of charge, a day late) or this. Each delete names the version that was seen to be expired, so
that an entry which another machine writes meanwhile stays, and any number of machines may sweep at the same time.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Protocol, TypeGuard

from .. import keys
from ..errors import BackendError, ConfigurationError, CorruptEntry, PartialFailure
from .faults import Conflict, Refused
from .listing import ours, page_of
from .mirror import gone_at, made_of
from .objects import ObjectInfo

if TYPE_CHECKING:
    from .upkeep import BucketUpkeep

Progress = Callable[["SweepReport"], None]
IsDead = Callable[[float, tuple[str, ...]], bool]
"""Tells whether an entry of this moment, with these tags, was invalidated."""
LEAST_BUDGET = 3
"""Requests that make any progress possible: list one object, look at it, delete it."""
_PAGE = 1000
_OPTIONS = {"prefix", "max_requests", "resume", "progress", "is_dead"}
_WRITTEN_AGAIN = (Refused, Conflict)


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep did, so far or in all.

    Attributes:
        examined: objects of ours that were looked at.
        deleted: expired ones that are gone now.
        freed: bytes that these took.
        changed: objects that were written again between look and delete: they stay.
        unknown: objects whose expiry cannot be told without reading them (copied without their metadata, damaged, or
            of a later release): they stay.
        requests: requests that were sent to the store.
        failed: objects that could not be looked at or deleted, by kind of error.
        resume: what `sweep(resume=…)` goes on from; None when the whole listing was seen.
    """

    examined: int = 0
    deleted: int = 0
    freed: int = 0
    changed: int = 0
    unknown: int = 0
    requests: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    resume: str | None = None

    @property
    def complete(self) -> bool:
        """Whether the whole listing was seen."""
        return self.resume is None

    def __str__(self) -> str:
        failed = "".join(f", {count:,} failed ({kind})" for kind, count in sorted(self.failed.items()))
        return (
            f"{self.deleted:,} of {self.examined:,} objects deleted, {self.freed:,} bytes freed, "
            f"{self.changed + self.unknown:,} left alone{failed}; {self.requests:,} requests"
            f"{'' if self.complete else '; stopped at its budget, resume to go on'}"
        )


class Sweepable(Protocol):
    """A backend that deletes what is expired when it is asked to: object stores, and what keeps entries in them."""

    def sweep(
        self,
        prefix: str = "",
        *,
        max_requests: int | None = None,
        resume: str | None = None,
        progress: Progress | None = None,
        is_dead: IsDead | None = None,
        **options: bool,
    ) -> SweepReport:
        """Delete what is expired, or dead, of the keys with this prefix (see `ObjectStoreBackend.sweep`)."""
        ...


def is_sweepable(backend: object) -> TypeGuard[Sweepable]:
    """Whether `Cache.sweep` can ask this backend: by the options of its `sweep`, as others have one of that name."""
    sweep = getattr(backend, "sweep", None)
    return callable(sweep) and inspect.signature(sweep).parameters.keys() >= _OPTIONS


def can_only_count(backend: Sweepable) -> bool:
    """Whether its `sweep` takes `dry_run`, and then deletes nothing."""
    return "dry_run" in inspect.signature(backend.sweep).parameters


def check_budget(max_requests: int | None) -> None:
    """Refuse a budget that allows nothing, or is none."""
    if max_requests is not None and (type(max_requests) is not int or max_requests < LEAST_BUDGET):
        raise ConfigurationError(f"max_requests must be {LEAST_BUDGET} at least, or None for no bound")


class Sweep:
    """One run over the objects of a backend.

    Args:
        backend: whose objects.
        prefix: of the keys that are looked at.
        budget: requests at most; None: no bound.
        resume: where an earlier run stopped; None: at the beginning.
        is_dead: tells from its moment and its tags whether an entry was invalidated; None: none was.
        dry_run: count what would be deleted, and delete nothing.
    """

    def __init__(
        self,
        backend: BucketUpkeep,
        prefix: str,
        budget: int | None,
        resume: str | None,
        is_dead: IsDead | None = None,
        *,
        dry_run: bool = False,
    ) -> None:
        check_budget(budget)
        if not keys.is_listable(prefix):
            raise ConfigurationError("prefix is longer than a listing can tell apart; give its first part")
        self._backend = backend
        self._prefix = prefix
        self._budget = budget
        self._is_dead = is_dead
        self._dry_run = dry_run
        self._errors: dict[str, BackendError] = {}  # the first of each kind
        self.report = SweepReport(resume=resume)

    def run(self, progress: Progress | None, deadline: float | None) -> SweepReport:
        """Sweep until the end, the budget or the deadline; see `ObjectStoreBackend.sweep`."""
        while (limit := self._affordable()) > 0:
            after = self._page(limit, deadline)
            self.report = replace(self.report, resume=after)
            if progress is not None:
                progress(self.report)
            if after is None:
                break
        if self._errors:
            raise PartialFailure(self._errors, self.report)
        return self.report

    def _affordable(self) -> int:
        """Objects that the next page may have, so that what it shows can be looked at and deleted."""
        if self._budget is None:
            return _PAGE
        left = self._budget - self.report.requests
        if self._backend.objects.lists_metadata:
            deletes = -(-_PAGE // self._backend.objects.bulk_delete)
            return _PAGE if left > deletes else max(0, left - 1) * self._backend.objects.bulk_delete
        return min(_PAGE, left - 2)

    def _page(self, limit: int, deadline: float | None) -> str | None:
        """Look at one page, delete what is expired, and return the token of the next."""
        backend = self._backend
        start = backend.prefix + keys.listing_prefix(self._prefix)
        page, after = page_of(backend.objects, start, self.report.resume, limit=limit, deadline=backend.due(deadline))
        found = [listed.info for listed in ours(page, backend.prefix, self._prefix)]
        self._count(requests=1, examined=len(found))
        self._delete([info for info in self._described(found, deadline) if self._is_expired(info)], deadline)
        return after

    def _described(self, found: list[ObjectInfo], deadline: float | None) -> Iterator[ObjectInfo]:
        """The objects with their user metadata: from the listing, or with a HEAD each."""
        if self._backend.objects.lists_metadata:
            yield from found
            return
        self._count(requests=len(found))
        names = [info.name for info in found]
        looked: dict[str, ObjectInfo] = {}
        try:
            looked = self._backend.side_by_side(
                names, lambda name, due: self._backend.objects.stat(name, deadline=due), deadline
            )
        except PartialFailure as failure:
            looked = failure.results
            self._fail(failure.failed.values())
        yield from looked.values()

    def _is_expired(self, info: ObjectInfo) -> bool:
        mirror = info.user_metadata or {}
        try:
            end = gone_at(mirror)
            if self._is_dead is not None and self._is_dead(*made_of(mirror)):
                return True
        except CorruptEntry:
            self._count(unknown=1)
            return False
        return end is not None and end <= self._backend.clock()

    def _delete(self, expired: list[ObjectInfo], deadline: float | None) -> None:
        waiting = iter(expired)
        while some := {info.name: info for info in islice(waiting, self._backend.objects.bulk_delete)}:
            if self._dry_run:
                self._count(deleted=len(some), freed=sum(info.size for info in some.values()))
                continue
            versions = {name: info.etag for name, info in some.items()}
            due = self._backend.due_in_bulk(deadline, len(some))
            errors = self._backend.objects.remove_many(versions, deadline=due)
            gone = [info for name, info in some.items() if name not in errors]
            changed = sum(isinstance(error, _WRITTEN_AGAIN) for error in errors.values())
            self._count(requests=1, deleted=len(gone), freed=sum(info.size for info in gone), changed=changed)
            self._fail(error for error in errors.values() if not isinstance(error, _WRITTEN_AGAIN))

    def _count(self, **more: int) -> None:
        self.report = replace(self.report, **{name: getattr(self.report, name) + n for name, n in more.items()})

    def _fail(self, errors: Iterable[BackendError]) -> None:
        failed = Counter(self.report.failed)
        for error in errors:
            failed[type(error).__name__] += 1
            self._errors.setdefault(type(error).__name__, error)
        self.report = replace(self.report, failed=dict(failed))
