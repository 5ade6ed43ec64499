"""`Place`: what a chain, a tier or a single store is to a copy: one store that entries come from or go to."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..backend import Backend
from ..cache import Cache
from ..chain import TierChain
from ..errors import ConfigurationError
from ..tier import Tier

Store = Cache | TierChain | Tier | Backend
"""What entries can be copied from and to."""


@dataclass(frozen=True, slots=True)
class Place:
    """One end of a copy.

    Attributes:
        backend: the store that is listed, read or written.
        tier: its tier; None: it stands alone.
        chain: its chain; None: it is in none.
        above: the tiers above it, of which none may go on with something older.
    """

    backend: Backend
    tier: Tier | None = None
    chain: TierChain | None = None
    above: tuple[Tier, ...] = field(default=())

    @property
    def all(self) -> list[Backend]:
        """Every store of the chain that keeps what was invalidated, this one among them."""
        if self.chain is None:
            return [self.backend]
        return [tier.backend for tier in self.chain.tiers if tier.persists or tier.backend is self.backend]


def source_of(store: Store, tier: str | None = None) -> Place:
    """Return where entries are read: the slowest tier, which every `set` writes to, or the one of that name.

    Raises:
        ConfigurationError: it is no store, has no tier, or none of that name.
    """
    return _place(store, tier, for_writing=False)


def destination_of(store: Store, tier: str | None = None) -> Place:
    """Return where entries are written: the slowest tier that is written to, or the one of that name.

    Raises:
        ConfigurationError: as for `source_of`, or the tier is only read.
    """
    return _place(store, tier, for_writing=True)


def _place(store: Store, name: str | None, *, for_writing: bool) -> Place:
    if isinstance(store, Cache):
        store = store.chain
    if not isinstance(store, TierChain):
        if name is not None:
            raise ConfigurationError("a tier can be chosen of a chain; this is a single store")
        alone = store if isinstance(store, Tier) else Tier(store)
        if for_writing and alone.write == "never":
            raise ConfigurationError("the destination is only read (write='never')")
        return Place(alone.backend, store if isinstance(store, Tier) else None)
    able = [tier for tier in store.tiers if not for_writing or tier.write != "never"]
    if name is not None:
        able = [tier for tier in able if tier.label == name]
    if not able:
        known = ", ".join(tier.label for tier in store.tiers) or "none"
        asked = "" if name is None else f" as {name!r}"
        what = " that is written to" if for_writing else ""
        raise ConfigurationError(f"the chain has no such tier{asked}{what}; its tiers: {known}")
    chosen = able[-1]
    above = store.tiers[: store.tiers.index(chosen)] if for_writing else ()
    return Place(chosen.backend, chosen, store, tuple(tier for tier in above if tier.write != "never"))
