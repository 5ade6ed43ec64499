"""`migrate`: entries move between one object each and segments, while others read and write."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from ..backend import Backend
from ..envelope import envelope_of
from ..errors import ConfigurationError
from ..objectstore import ObjectStoreBackend
from .backend import PackedBackend
from .destinations import Taken, destination_of
from .invalidations import carry
from .moves import MigrationReport, Move, chunks
from .origins import Item, Scanned, origin_of, read_intact

Progress = Callable[[MigrationReport], object]


def migrate(
    source: Backend,
    target: Backend,
    *,
    prefix: str = "",
    resume: str | None = None,
    max_entries: int | None = None,
    delete: bool = False,
    progress: Progress | None = None,
) -> MigrationReport:
    """Copy entries from one backend to another, as they are: made for one object each -> `PackedBackend`, and back.

    Others may read and write meanwhile. Nothing that the target has is overwritten, and what it deleted after the
    entry was written stays deleted, as long as its tombstone is there: a day, or until it is compacted. Into segments
    that holds whichever process writes; into objects a delete in the very moment of the copy may be undone. Tags,
    attributes, times, expiry, the storage class and sealed bytes are kept. What was invalidated (`clear`,
    `invalidate_tags`) in the source is so in the target, before any entry comes there and again at the end. Both may
    have the same bucket and prefix. Changes that wait in another process' journal because the source was away are not
    known here: begin when its tier is well.

    Memory is bounded by about 8 MiB of stored entries, decompressed, and what waits in the target. From objects it
    costs a listing, a GET and its share of a segment each; from segments two GETs each, and a PUT an entry.

    Args:
        source: where the entries are.
        target: where they are to be.
        prefix: of the full keys, such as `"search:"` for one namespace.
        resume: the `resume` of an earlier report on the same source and prefix; without one, what is in the target is
            skipped.
        max_entries: to be looked at, about; the report says where it stopped. Segments are moved whole.
        delete: remove from the source what is stored in the target, as new as it is here (where the target had it
            before, that is read at both). What was written again stays, where the store has conditional deletes.
            Readers need the target in their chain by then.
        progress: called with the report so far, whenever a page of it is stored in the target for good.

    Raises:
        PartialFailure: source or target failed; `results` is the report, whose `resume` goes on from what is safe.
        ConfigurationError: one is no backend, an option has no such value, both are one, or the target would keep open
            what the source has sealed.
    """
    return Migration(source, target, prefix, max_entries, delete, progress).run(resume)


async def amigrate(
    source: Backend,
    target: Backend,
    *,
    prefix: str = "",
    resume: str | None = None,
    max_entries: int | None = None,
    delete: bool = False,
    progress: Progress | None = None,
) -> MigrationReport:
    """`migrate`, awaited; `progress` is called in a thread. Cancelled, it ends after the entries under way."""
    stop = threading.Event()
    move = Migration(source, target, prefix, max_entries, delete, progress, stop)
    try:
        return await asyncio.to_thread(move.run, resume)
    except asyncio.CancelledError:
        stop.set()
        raise


class Migration(Move):
    """A run of `migrate`; see there for the arguments.

    Args:
        source, target, prefix, max_entries, delete, progress: see `migrate`.
        stop: set to end the run after a page.
    """

    def __init__(
        self,
        source: Backend,
        target: Backend,
        prefix: str,
        max_entries: int | None,
        delete: bool,
        progress: Progress | None,
        stop: threading.Event | None = None,
    ) -> None:
        if max_entries is not None and (type(max_entries) is not int or max_entries < 1):
            raise ConfigurationError("max_entries must be a whole number from 1 on, or None for all")
        if not isinstance(delete, bool):
            raise ConfigurationError("delete must be True or False")
        if not isinstance(prefix, str):
            raise ConfigurationError("prefix must be text, such as 'search:'")
        check_apart(source, target, delete)
        origin = origin_of(source, prefix)
        if max_entries is not None and isinstance(origin, Scanned):
            raise ConfigurationError("max_entries needs a source that can be gone on with: an object store")
        super().__init__(origin, destination_of(target), max_entries, progress, stop)
        self._source, self._target = source, target
        self._delete = delete

    def _before(self) -> None:
        carry(self._source, self._target)

    def _after(self) -> None:
        carry(self._source, self._target)

    def _removable(self, items: list[Item], taken: Taken) -> list[Item]:
        if not self._delete:
            return []
        there = self._as_new([item for item in items if item.key in taken.present])
        return [item for item in items if item.key in taken.copied or item.key in there]

    def _as_new(self, items: list[Item]) -> set[str]:
        """The keys of which the target has an intact entry that is as new as the source's: a GET each at both."""
        found: set[str] = set()
        for chunk in chunks(items):
            mine, _ = self._origin.read(chunk)
            theirs, _ = read_intact(self._target, list(mine))
            found |= {key for key, entry in theirs.items() if entry.metadata.loaded_at >= mine[key].metadata.loaded_at}
        return found


def check_apart(source: Backend, target: Backend, delete: bool) -> None:
    """Raise where entries would be moved to where they are, or be opened on the way."""
    for role, one in (("source", source), ("target", target)):
        if isinstance(one, type) or not callable(getattr(one, "scan", None)):
            raise ConfigurationError(
                f"{role} must be a backend, as S3Backend(…) or PackedBackend(…) is (of a tier: its backend), "
                f"not a {type(one).__name__}"
            )
    if envelope_of(source).sealed and not envelope_of(target).sealed:
        raise ConfigurationError("the source is sealed, the target is not: give both the keys, TierChain(..., keys=…)")
    same = source is target
    if type(source) is type(target):
        here, there = (one.inner if isinstance(one, PackedBackend) else one for one in (source, target))
        if isinstance(here, ObjectStoreBackend) and isinstance(there, ObjectStoreBackend):
            same = same or (here.prefix == there.prefix and _may_be_one(here, there, delete))
    if same:
        raise ConfigurationError("source and target are the same place (or may be: then leave delete out)")


def _may_be_one(here: ObjectStoreBackend, there: ObjectStoreBackend, delete: bool) -> bool:
    """Whether two stores are one, as far as their names tell: the endpoint may differ, so it matters for deletes."""
    name = getattr(here, "bucket", None) or getattr(here, "container", None)
    other = getattr(there, "bucket", None) or getattr(there, "container", None)
    return here.objects is there.objects or (delete and name is not None and name == other)
