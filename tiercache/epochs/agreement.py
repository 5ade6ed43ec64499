"""How the table of a process and the marks in the tiers come to agree: each tells the other what it does not know.

The marks of a namespace are one entry in each persistent tier, written with conditional puts: whoever was overtaken
reads again, merges, and tries again. A tier that misses them, because it was emptied or down, gets them from whichever
process knows them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from ..entry import Entry
from ..errors import (
    AccessDenied,
    BackendUnavailable,
    ConfigurationError,
    CorruptEntry,
    EntryTooLarge,
    UnknownFormat,
)
from ..flow import Gather, Settled, running_loop
from ..tier import FAILURES, Tier
from .marks import NEVER, Written, from_bytes, to_entry
from .table import Epochs, Space

if TYPE_CHECKING:
    from ..chain import TierChain

ATTEMPTS = 10
"""Times that marks are merged anew when other processes change them at the same moment."""
REWRITE_AFTER = 6 * 3600.0
"""Seconds after which marks are written again: no lifecycle rule, which counts days, takes them while they are used."""
LEARN_TIMEOUT = 30.0
"""Seconds that others wait for the first reading of a namespace's marks (tiers that keep deadlines end sooner)."""


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
        entry = entry.in_class(class_for_marks(tier))
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


def class_for_marks(tier: Tier) -> str | None:
    """Return the class for small objects that are often replaced, which is billed for no minimum; None: the default."""
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
