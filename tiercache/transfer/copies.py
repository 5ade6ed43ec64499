"""`copy`: entries of one chain or store into another, in bulk."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable
from typing import Any, get_args

from ..errors import ConfigurationError
from ..packed.moving import check_apart
from ..units import Duration
from .copying import Copying, Failed, Progress
from .destinations import newest_into
from .judging import Judge
from .newest import Overwrite
from .opaque import carries, let_carry
from .origins import source_from, total_of
from .places import Store, destination_of, source_of
from .placing import Above, Placing
from .report import CopyReport
from .selection import Selection


def copy(
    source: Store,
    destination: Store,
    *,
    prefix: str = "",
    namespace: str | None = None,
    tags: Iterable[str] = (),
    newer_than: Duration | None = None,
    overwrite: Overwrite = "older",
    storage_class: str | None = None,
    carry_sealed: bool = False,
    source_tier: str | None = None,
    destination_tier: str | None = None,
    max_entries: int | None = None,
    resume: str | None = None,
    progress: Progress | None = None,
    on_failure: Failed | None = None,
    stop: threading.Event | None = None,
) -> CopyReport:
    """Copy entries from one chain or store to another, as they are, while others read and write both.

    Of a chain the slowest tier is read, and the slowest that is written to is written: that is where everything is.
    Envelopes are copied byte for byte, with tags, attributes, times, expiry and storage class. What the destination has
    newer stays, in whichever of its tiers; where an older entry is replaced, the tiers above lose it, and other
    processes are told. What was invalidated, in the source or in the destination, is not copied; a `clear` in the
    source during the copy holds for what is read after it. What expires on the way is left out.

    Memory is bounded by about 24 MiB of stored entries, decompressed. It costs a listing of the source, a read and a
    conditional write an entry (Redis: a few round trips for a hundred), and nothing twice when it is gone on with.

    Args:
        source, destination: a `Cache`, a `TierChain`, a `Tier` or a backend.
        prefix: of the keys in the namespace, or of the full keys (`namespace:key`) where no namespace is given.
        namespace: only its entries.
        tags: only entries that carry one of them.
        newer_than: only entries whose load began this long ago at most.
        overwrite: what may be overwritten: `older` entries, `never` any, or `always`.
        storage_class: that the copies get; None: the one that they are in, where the destination has it.
        carry_sealed: also copy entries that are sealed, without their key: neither end may have keys, and both must be
            made for this copy alone, as they are no use for reading values afterwards. What was invalidated of their
            namespaces is taken along. Nobody can tell which of two is newer: what is there stays.
        source_tier, destination_tier: the name of another tier of the chain.
        max_entries: to be looked at, about; the report says where it stopped.
        resume: the `resume` of an earlier report, with the same other arguments.
        progress: called with the report so far, whenever a page of it is stored for good.
        on_failure: called with the key and the error of each entry that could not be copied.
        stop: set it to end the copy after the page under way.

    Returns:
        A report; its `left` counts what should have been copied and was not.

    Raises:
        PartialFailure: source or destination failed as a whole, several times; `results` is the report.
        ConfigurationError: both are one place, or an option has no such value.
    """
    if overwrite not in get_args(Overwrite):
        raise ConfigurationError(f"overwrite={overwrite!r} must be one of {', '.join(get_args(Overwrite))}")
    if max_entries is not None and (type(max_entries) is not int or max_entries < 1):
        raise ConfigurationError("max_entries must be a whole number from 1 on, or None for all")
    selection = Selection.of(prefix=prefix, namespace=namespace, tags=tags, newer_than=newer_than, now=time.time())
    here, there = source_of(source, source_tier), destination_of(destination, destination_tier)
    check_apart(here.backend, there.backend, delete=False)
    if carry_sealed:
        let_carry([*here.all, *there.all])
    for end in (here, there):
        if end.chain is not None:
            end.chain.drain()
    copying = Copying(
        source_from(here.backend, selection.prefix),
        newest_into(there.backend, overwrite, Placing(there, storage_class)),
        selection=selection,
        judge=Judge(here, there),
        above=Above(there) if there.above or there.chain is not None else None,
        carries=carries(there.backend),
        most=max_entries,
        progress=progress,
        stop=stop,
        on_failure=on_failure,
        total=total_of(here.backend, selection.prefix),
    )
    return copying.go(resume)


async def acopy(source: Store, destination: Store, **options: Any) -> CopyReport:
    """`copy`, awaited; `progress` is called in a thread. Cancelled, it ends after the entries under way."""
    stop = options.setdefault("stop", threading.Event())
    try:
        return await asyncio.to_thread(copy, source, destination, **options)
    except asyncio.CancelledError:
        stop.set()
        raise
