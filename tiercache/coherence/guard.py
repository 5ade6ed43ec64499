"""The shared fence: one tier that tells several processes what changed while they were loading.

A fast shared store (Redis) keeps, under each key's own name, what the last change left: an entry, or a tombstone. Who
loads a key remembers what it saw there, and stores what it loaded only if that is still there; who deletes leaves an
open tombstone while the slower tiers are changed, and closes it afterwards. No clocks are compared for that, and it
costs a load no round trip. Entries in slower tiers whose load began before a tombstone was made are refused while it
stands.

Where the store is down, or has lost the tombstone (evicted, flushed, older than `STANDS`), only the fences within each
process hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

from ..entry import Entry

STANDS = 600.0
"""Seconds for which a tombstone stands: longer than a load that began before it may last."""
OPEN = 60.0
"""Seconds for which one stands whose process died before it closed it."""


class Seen(msgspec.Struct, frozen=True):
    """What a guard holds for a key.

    Attributes:
        token: stands for it in `put_seen`; empty: nothing was there.
        entry: the entry, if it may be used.
        deleted_at: when a tombstone was made (Unix seconds); None: it is none.
    """

    token: str = ""
    entry: Entry | None = None
    deleted_at: float | None = None


@runtime_checkable
class Guard(Protocol):
    """A backend that can be the shared fence. Each method has an `a…` twin and takes the keyword `deadline`."""

    def get_seen(self, key: str, *, deadline: float | None = None) -> Seen:
        """`get`, and what was seen."""
        ...

    def get_many_seen(self, keys: Sequence[str], *, deadline: float | None = None) -> dict[str, Seen]:
        """`get_many`, and what was seen of each key."""
        ...

    def put_seen(self, key: str, entry: Entry, token: str, *, deadline: float | None = None) -> bool:
        """Store the entry if what was seen is still there; return whether it was."""
        ...

    def put_many_seen(
        self, entries: Mapping[str, Entry], tokens: Mapping[str, str], *, deadline: float | None = None
    ) -> set[str]:
        """`put_seen` for several; return the keys that were stored."""
        ...

    def bury(self, keys: Sequence[str], mark: bytes, *, deadline: float | None = None) -> set[str]:
        """Leave open tombstones, named by 16 bytes of their maker; return the keys that had entries."""
        ...

    def displace(
        self,
        keys: Mapping[str, float],
        state: bytes,
        seen: Mapping[str, str] | None = None,
        gap: bool = False,
        *,
        deadline: float | None = None,
    ) -> set[str]:
        """Leave closed tombstones in place of entries that this store does not take; return where that was done.

        Loads that began before store nothing then.

        Args:
            keys: whose, and until which moment (Unix seconds) entries in slower stores are refused.
            state: 16 random bytes; in hex they are the token.
            seen: only where that which was seen is still there; None: everywhere.
            gap: `overtaken` takes it for nothing: the store had missed changes, and loses what it holds.
            deadline: as everywhere.
        """
        ...

    def close_tombs(self, keys: Sequence[str], mark: bytes, *, deadline: float | None = None) -> int:
        """Close those of these tombstones that still stand; return how many."""
        ...

    def overtaken(self, tokens: Mapping[str, str], *, deadline: float | None = None) -> set[str]:
        """Return the keys that hold something else than these tokens stand for."""
        ...
