"""`erase`: the bytes of a key leave every segment, the hidden ones of older values as well."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from ..errors import BackendUnavailable, CorruptEntry
from .discovery import Segment
from .lease import SECONDS, Lease
from .rewriting import Rewriter
from .round import Round
from .segment import digest_of, find

if TYPE_CHECKING:
    from .upkeep import SegmentUpkeep

POLL = 1.0
STORE_SECONDS = 300.0
"""Seconds that the tombstone, and what waits, may take to be stored."""
LOOKS = 3
"""Times that segments are looked for, while some go that were known."""


def erase(backend: SegmentUpkeep, turn: Round, key: str) -> int:
    """Remove the bytes of a key; see `PackedBackend.erase`."""
    digest = digest_of(key)
    lease = Lease(backend.inner)
    _wait_for(lease, backend, turn.deadline)
    try:
        turn.look()
        turn.check_catalogue()
        backend.bury_for_good(key, turn.deadline or time.monotonic() + STORE_SECONDS)
        holders = _holders(backend, turn, digest)
        rewriter = Rewriter(turn, lambda: lease.keep(backend.inner.due(turn.deadline)), without=digest)
        for holder in holders:
            if not lease.keep(backend.inner.due(turn.deadline)):
                raise BackendUnavailable("another process began to compact; erase again", tier_wide=False)
            if not rewriter.rewrite([holder], {}):
                turn.finished()
                raise BackendUnavailable("a segment that holds the key could not be replaced; erase again later")
    finally:
        lease.give_back()
    turn.finished()
    if backend.discovery.unreadable:
        raise CorruptEntry(
            f"the key was erased, but {backend.discovery.unreadable} segments are damaged, archived, denied or of a"
            " later release, so that nobody here knows whether they hold it"
        )
    return len(holders)


def _holders(backend: SegmentUpkeep, turn: Round, digest: bytes) -> list[Segment]:
    """The segments that hold bytes of the key."""

    def holds(_: Segment, index: bytes) -> bool:
        found = find(index, digest)
        return found is not None and found.length > 0

    for _ in range(LOOKS):
        turn.look()
        segments = backend.discovery.known()
        held = turn.in_indices(segments, holds)
        turn.finished()
        if len(held) == len(segments):
            return [segment for segment in segments if held[segment.name]]
    raise BackendUnavailable("segments went while the key was looked for; erase again", tier_wide=False)


def _wait_for(lease: Lease, backend: SegmentUpkeep, deadline: float | None) -> None:
    """Return when nobody else moves records: a compaction that began before would copy the key's."""
    end = time.monotonic() + 2 * SECONDS if deadline is None else deadline
    while not lease.take(backend.inner.due(deadline)):
        left = end - time.monotonic()
        if left <= POLL:
            raise BackendUnavailable("another process is compacting; erase again later", tier_wide=False)
        threading.Event().wait(POLL)
