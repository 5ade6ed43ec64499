"""`BucketUpkeep`: what keeps a bucket clean: sweeps and lifecycle rules. Part of every object-store backend."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from ..backend import Backend
from ..entry import Clock
from ..errors import ConfigurationError
from ..units import Duration
from .lifecycle import LifecycleChange, LifecycleRules, apply
from .objects import ObjectStore
from .sweep import IsDead, Sweep, SweepReport

T = TypeVar("T")


class BucketUpkeep(Backend):
    """Operations on a bucket as a whole, on top of what `ObjectStoreBackend` provides."""

    objects: ObjectStore
    prefix: str
    clock: Clock

    def sweep(
        self,
        prefix: str = "",
        *,
        max_requests: int | None = None,
        resume: str | None = None,
        progress: Callable[[SweepReport], None] | None = None,
        is_dead: IsDead | None = None,
        dry_run: bool = False,
        deadline: float | None = None,
    ) -> SweepReport:
        """Delete the objects of expired entries whose keys start with `prefix`, in bulk.

        It costs the listing and the bulk deletes, and a HEAD for each object where a listing tells no metadata (S3).
        What was written again since it was looked at stays, so several machines may sweep at the same time.

        Args:
            prefix: of the keys, at most 800 encoded bytes.
            max_requests: the budget; the report says where it stopped.
            resume: the `resume` of an earlier report.
            progress: called with the report so far, after each page of at most 1,000 objects.
            is_dead: tells from when an entry was made and from its tags whether it was invalidated: it goes, too.
            dry_run: delete nothing; the report counts as deleted what would be.
            deadline: seconds of `time.monotonic`; None: each request has `timeout`, the whole has no bound.

        Raises:
            PartialFailure: some objects could not be looked at or deleted; `results` is the report, `failed` the first
                error of each kind.
            BackendError: a listing or a bulk delete failed; what was deleted before stays deleted.
        """
        return Sweep(self, prefix, max_requests, resume, is_dead, dry_run=dry_run).run(progress, deadline)

    async def asweep(self, prefix: str = "", **options: Any) -> SweepReport:
        """`sweep`, awaited; `progress` is called in a thread of the backend."""
        return await self._offload(self.sweep, prefix, **options)

    def apply_lifecycle(
        self, *, expire_after: Duration | None = None, dry_run: bool = False, deadline: float | None = None
    ) -> LifecycleChange:
        """Make the bucket's lifecycle rules delete what is expired below this backend's prefix.

        Without a prefix that is the whole bucket, with what others keep in it: give the backend one, or the cache a
        bucket of its own. Rules of others are kept. Called again with the same arguments, it changes nothing. It reads
        and replaces the whole configuration, so that another tool which changes it at the same moment may undo this,
        or be undone.

        Args:
            expire_after: how long after its writing an object goes, rounded up to days: the longest ttl, and
                stale_for, or more. GCS deletes by each entry's own expiry without it. (What `clear` and
                `invalidate_tags` leave is written again every 6 hours while a process uses the cache.)
            dry_run: say what would change, and change nothing.
            deadline: seconds of `time.monotonic`; None: each request has `timeout`.

        Raises:
            ConfigurationError: the store needs `expire_after`, or its rules cannot be reached from here.
            AccessDenied: the credentials of a cache client do not allow it (they should not); use an operator's.
        """
        with self.lifecycle_rules(deadline=deadline) as (rules, due):
            return apply(rules, self.prefix, expire_after, dry_run=dry_run, deadline=due)

    async def aapply_lifecycle(self, **options: Any) -> LifecycleChange:
        """`apply_lifecycle`, awaited."""
        return await self._offload(self.apply_lifecycle, **options)

    @contextmanager
    def lifecycle_rules(self, *, deadline: float | None = None) -> Iterator[tuple[LifecycleRules, float | None]]:
        """Lend the bucket's lifecycle rules, and when what is done with them must end.

        Raises:
            ConfigurationError: they cannot be reached from here.
        """
        due = self.due(deadline)
        if self.objects.lifecycle is None:
            raise ConfigurationError(f"the lifecycle rules of {self.scheme}:// cannot be reached from here")
        yield self.objects.lifecycle, due

    @abstractmethod
    def due(self, deadline: float | None) -> float | None:
        """Return when an operation that begins now must end."""

    @abstractmethod
    def due_in_bulk(self, deadline: float | None, count: int) -> float | None:
        """Return when one request about so many objects must end."""

    @abstractmethod
    def side_by_side(
        self, names: Iterable[str], operation: Callable[[str, float | None], T | None], deadline: float | None
    ) -> dict[str, T]:
        """Perform an operation for each name in this backend's threads."""
