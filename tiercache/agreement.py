"""How the table of a process and the marks in the tiers come to agree: each tells the other what it does not know.

The marks of a namespace are one entry in each persistent tier, written with conditional puts: whoever was overtaken
reads again, merges, and tries again. A tier that misses them, because it was emptied or down, gets them from whichever
process knows them.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Mapping
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, NamedTuple

from . import fork
from .entry import Entry
from .epochs import Epochs, Space
from .errors import (
    AccessDenied,
    BackendUnavailable,
    CacheClosed,
    ConfigurationError,
    CorruptEntry,
    EntryTooLarge,
    UnknownFormat,
)
from .flow import Gather, Settled, drive, running_loop
from .marks import NEVER, Written, from_bytes, to_entry
from .pool import DaemonPool
from .ticker import ticker
from .tier import FAILURES, Tier

if TYPE_CHECKING:
    from .chain import TierChain

ATTEMPTS = 10
"""Times that marks are merged anew when other processes change them at the same moment."""
REWRITE_AFTER = 6 * 3600.0
"""Seconds after which marks are written again: no lifecycle rule, which counts days, takes them while they are used."""
LEARN_TIMEOUT = 30.0
"""Seconds that others wait for the first reading of a namespace's marks (tiers that keep deadlines end sooner)."""
RETRY_EVERY = 2.0
"""Seconds between attempts to bring marks to a tier that misses some, at first."""
RETRY_AT_LEAST_EVERY = 60.0
CLOSE_TIMEOUT = 5.0


class Held(NamedTuple):
    """What a tier answered: its marks if it has any, their version in the store, and whether they may be replaced."""

    written: Written | None = None
    etag: str | None = None
    absent: bool = False
    replaceable: bool = True


async def believe(
    chain: TierChain, space: Space, tier: Tier, silent: Mapping[Tier, Exception]
) -> Mapping[Tier, Exception]:
    """Return when what a tier holds can be judged; raise the failure that kept its marks from being read.

    Args:
        chain: the tiers.
        space: the namespace.
        tier: the tier that is about to be asked.
        silent: the tiers that failed to tell their marks in this call, and how; they are not asked again in it.

    Returns:
        `silent`, as it is from now on.
    """
    if not space.asked:
        silent = await _learn(chain, space)
    if tier in space.unread:
        if tier in silent:
            raise silent[tier]
        await read(chain.epochs, space, tier)
    return silent


async def judged(chain: TierChain, space: Space) -> list[Tier]:
    """Return the tiers whose entries can be judged; those that fail are left out, unless the chain is strict."""
    found: list[Tier] = []
    silent: Mapping[Tier, Exception] = {}
    for tier in chain.tiers:
        try:
            if space.unread and not tier.local:
                silent = await believe(chain, space, tier, silent)
        except FAILURES:
            if chain.strict:
                raise
        else:
            found.append(tier)
    return found


async def _learn(chain: TierChain, space: Space) -> Mapping[Tier, Exception]:
    """Read the marks from all tiers side by side, once for all who need them now."""
    learning, leads = chain.epochs.begin_learning(space, running_loop())
    if not leads:
        await Settled([learning], LEARN_TIMEOUT)
        return learning.failures
    tiers = chain.epochs.tiers
    try:
        results = await Gather([read(chain.epochs, space, tier) for tier in tiers], chain.side_by_side)
        for tier, result in zip(tiers, results, strict=True):
            if isinstance(result, FAILURES):
                learning.failures[tier] = result
            elif isinstance(result, BaseException):
                raise result
    finally:
        chain.epochs.end_learning(space, learning)
    return learning.failures


async def read(epochs: Epochs, space: Space, tier: Tier) -> Held:
    """Ask a tier for its marks, and take them over.

    Damaged ones are asked for once more; then nothing that the tier holds until now is believed. So it is with those
    of a later release, at each reading.
    """
    held = Held()
    for _ in range(2):
        entry: Entry | None = None
        try:
            entry = await tier.get(space.key)
            written = Written() if entry is None else _marks_in(entry, tier)
        except AccessDenied:  # how some stores say that there is none, to those who may not list
            written = Written()
        except UnknownFormat:
            epochs.damaged(space, tier)
            epochs.was_written(space, tier, space.version)
            return Held(replaceable=False)
        except CorruptEntry:
            held = Held(etag=None if entry is None else entry.metadata.etag)
            continue
        epochs.was_read(space, tier, written.marks, written.floor)
        return Held(written, None if entry is None else entry.metadata.etag, absent=entry is None)
    epochs.damaged(space, tier)
    return held


async def agree(epochs: Epochs, space: Space, tier: Tier, held: Held | None = None) -> None:
    """Let a tier and the table know the same; raises the failure of the tier.

    Args:
        epochs: the table.
        space: the namespace.
        tier: a persistent tier; one that is only read is written nothing.
        held: what `read` just returned, if it was called.
    """
    for _ in range(ATTEMPTS):
        if held is None:
            held = await read(epochs, space, tier)
        if tier.write == "never" or not held.replaceable or not (space.lacks(tier) or _is_old(space, held)):
            return
        version = space.version
        written = Written(space.marks, time.time(), space.floors.get(tier, NEVER))
        try:
            if await _put(tier, space, to_entry(space.name, written), held):
                epochs.was_written(space, tier, version)
                return
        except EntryTooLarge:
            if not space.marks.tags:
                raise
            epochs.shrink(space)
            continue
        held = None
    raise BackendUnavailable("the marks of a namespace could not be merged into the tier's; it is tried again")


def _marks_in(entry: Entry, tier: Tier) -> Written:
    try:
        return from_bytes(entry.payload)
    except CorruptEntry as error:
        raise tier.failed(error) from None


def _is_old(space: Space, held: Held) -> bool:
    return bool(space.version) and held.written is not None and time.time() - held.written.written_at > REWRITE_AFTER


async def _put(tier: Tier, space: Space, entry: Entry, held: Held) -> bool:
    """Replace what was read; in a store without conditional puts, whatever is there."""
    if tier.classes is not None:
        entry = entry.in_class(_class_for_marks(tier))
    try:
        if held.etag is not None:
            return await tier.put(space.key, entry, if_match=held.etag)
        if held.absent:
            return await tier.put(space.key, entry, if_absent=True)
    except (BackendUnavailable, ConfigurationError) as error:
        unsupported = isinstance(error.__cause__, (TypeError, NotImplementedError))
        if not unsupported and not isinstance(error, ConfigurationError):
            raise
    return await tier.put(space.key, entry)


def _class_for_marks(tier: Tier) -> str | None:
    """Return the store's class without minimum billing beside the backend's own, None where that is it."""
    for name, rules in (tier.classes or {}).items():
        if (
            rules.plain is None
            and not rules.refused
            and not rules.archived
            and not rules.exclusive
            and tier.mixes(name)
        ):
            return name
    return None


class Refresher:
    """Reads the marks of all tiers again from time to time, and brings them to tiers that miss some.

    Args:
        epochs: the table.
        seconds: between two readings; None: never.
    """

    def __init__(self, epochs: Epochs, seconds: float | None) -> None:
        self._epochs = epochs
        self._seconds = seconds
        self._every = min(RETRY_EVERY, seconds or RETRY_EVERY)
        self._pool = DaemonPool(1, "tiercache-epochs")
        self._registered = False
        self._closed = False
        self.after_fork()
        fork.register(self)
        start, again = weakref.WeakMethod(self.start), weakref.WeakMethod(self.retry)
        epochs.on_use = lambda: (method := start()) and method()
        for tier in epochs.tiers:
            hooks = getattr(tier, "on_recovery", None)
            if hooks is not None:
                hooks.append(lambda: (method := again()) and method())

    def after_fork(self) -> None:
        """What was under way stayed in the parent."""
        self._lock = threading.Lock()
        self._running: Future[None] | None = None
        self._due = time.monotonic() + (self._seconds or 0.0)
        self._pause = self._every
        self._retry_at = 0.0

    def start(self) -> None:
        """Begin, at the first use; in a forked child, go on."""
        if self._closed or not self._epochs.tiers:
            return
        with self._lock:
            registered, self._registered = self._registered, True
        if registered:
            ticker.wake()
            return
        self._due = time.monotonic() + (self._seconds or 0.0)
        ticker.every(self._every, self.tick)

    def tick(self) -> None:
        """Start a round if one is due, or a tier misses marks."""
        now = time.monotonic()
        every = self._seconds is not None and now >= self._due
        if every or (now >= self._retry_at and self._lacking()):
            self._submit(every)

    def retry(self) -> None:
        """A tier is back: bring it what it misses, now."""
        if self._lacking():
            self._submit(every=False)

    def round(self, every: bool) -> None:
        """Agree with the tiers, all of them or those that miss something; one that fails is asked no more in it."""
        failed: set[Tier] = set()
        for space in self._epochs.spaces:
            for tier in self._epochs.tiers:
                if tier in failed or not (every or space.lacks(tier)):
                    continue
                try:
                    drive(agree(self._epochs, space, tier))
                except FAILURES:
                    failed.add(tier)  # counted and logged by the tier
                except CacheClosed:
                    return
        # A tier that takes no marks is asked less and less often.
        self._pause = min(2 * self._pause, RETRY_AT_LEAST_EVERY) if failed else self._every
        self._retry_at = time.monotonic() + self._pause

    def close(self) -> None:
        """End; try once more, within bounds, to bring the tiers what they miss."""
        self._closed = True
        if self._registered:
            ticker.stop(self.tick)
        if self._lacking():
            self._submit(every=False)
        running = self._running
        if running is not None:
            wait([running], CLOSE_TIMEOUT)
        self._pool.close()

    def _lacking(self) -> bool:
        return any(space.lacks(tier) for space in self._epochs.spaces for tier in self._epochs.writable)

    def _submit(self, every: bool) -> None:
        with self._lock:
            if self._running is not None and not self._running.done():
                return
            if every and self._seconds is not None:
                self._due = time.monotonic() + self._seconds
            try:
                self._running = self._pool.submit(self.round, every)
            except BackendUnavailable:
                return  # no thread to be had: at the next tick
