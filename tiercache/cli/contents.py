"""What the tiers hold, entry by entry, and which of it a command is about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..cache import Cache
from ..entry import Metadata
from ..epochs.agreement import judged
from ..epochs.table import Space
from ..flow import drive
from ..keys import RESERVED, check_namespace
from ..many import in_full, is_known_dead
from ..tier import Tier
from .failures import Mistake

EVERY_NAMESPACE = ("all", "*")
"""What `--namespace` calls all of them together."""


@dataclass(frozen=True)
class Selection:
    """Which entries: those of a namespace (None: of all) that fulfil everything that is said.

    Attributes:
        namespace: whose keys; None: all.
        prefix: what the key starts with, its namespace aside.
        tags: it carries one of them; empty: whatever it carries.
        tenant: whose it is: by the attribute `scope` of the LLM layer, or by an attribute `tenant` of the caller's.
    """

    namespace: str | None
    prefix: str = ""
    tags: frozenset[str] = frozenset()
    tenant: str | None = None

    @property
    def needs_metadata(self) -> bool:
        """Whether a listing does not tell."""
        return bool(self.tags) or self.tenant is not None

    @property
    def listed(self) -> str:
        """What the full keys start with."""
        return "" if self.namespace is None else f"{self.namespace}:{self.prefix}"

    def takes(self, full: str, metadata: Metadata) -> bool:
        """Whether an entry that is listed is one of them."""
        name, colon, key = full.partition(":")
        if not colon or name == RESERVED or not key.startswith(self.prefix):
            return False
        if self.tags and not self.tags.intersection(metadata.tags):
            return False
        return self.tenant is None or is_of(self.tenant, metadata)


@dataclass(frozen=True)
class Found:
    """An entry that a tier lists; `dead`: it was invalidated; `in_full`: its metadata was read, not only listed."""

    tier: str
    full: str
    metadata: Metadata
    dead: bool
    in_full: bool

    @property
    def namespace(self) -> str:
        """Whose it is."""
        return self.full.partition(":")[0]

    @property
    def key(self) -> str:
        """Its key, without the namespace."""
        return self.full.partition(":")[2]

    @property
    def stored(self) -> int:
        """Bytes that it takes, as far as the listing knows."""
        return self.metadata.stored_size if self.metadata.stored_size is not None else self.metadata.size


@dataclass
class Walk:
    """Lists the entries of a selection in one tier.

    Attributes:
        looked_at: entries that were listed so far, selected or not.
        dead: those among the selected that were invalidated.
        complete: whether the listing came to its end.
    """

    cache: Cache
    tier: Tier
    selection: Selection
    full: bool = False
    looked_at: int = 0
    dead: int = 0
    complete: bool = False
    _spaces: dict[str, Space] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Found]:
        selection = self.selection
        in_full = self._in_full()
        for full, metadata in self.tier.backend.scan(selection.listed, full=in_full):
            self.looked_at += 1
            if selection.takes(full, metadata):
                space = self._space(full.partition(":")[0])
                dead = (is_dead if in_full else is_known_dead)(space, self.tier, metadata)
                self.dead += dead
                yield Found(self.tier.label, full, metadata, dead, in_full)
        self.complete = True

    def _in_full(self) -> bool:
        if self.full or self.selection.needs_metadata:
            return True
        name = self.selection.namespace
        return name is not None and in_full(self._space(name), self.tier)

    def _space(self, namespace: str) -> Space:
        if namespace not in self._spaces:
            space = self._spaces[namespace] = self.cache.chain.epochs.space(namespace)
            drive(judged(self.cache.chain, space))
        return self._spaces[namespace]


def is_dead(space: Space, tier: Tier, metadata: Metadata) -> bool:
    """Whether an entry, all of whose metadata are known, was invalidated."""
    return space.covers(metadata.loaded_at, metadata.tags, tier)


def is_of(tenant: str, metadata: Metadata) -> bool:
    """Whether an entry belongs to a tenant, as far as its attributes tell."""
    from ..llm.tags import hidden

    attributes = metadata.attributes
    return attributes.get("scope") == hidden(tenant) or attributes.get("tenant") == tenant


def tiers_of(cache: Cache, name: str | None = None) -> list[Tier]:
    """Return the tiers that can be looked into, or the one of that name.

    Raises:
        Mistake: there is none.
    """
    visible = [tier for tier in cache.chain.tiers if not tier.local]
    chosen = [tier for tier in visible if name in (None, tier.label)]
    if not visible:
        raise Mistake("memory is each process's own and cannot be looked into from here; name the other tiers, too")
    if not chosen:
        raise Mistake(f"no tier is called {name!r} here; there is {', '.join(tier.label for tier in visible)}")
    return chosen


def namespace_said(said: str | None) -> str | None:
    """Return the one namespace that `--namespace` names; None: none, or all of them."""
    return None if said in EVERY_NAMESPACE else said


def selected_namespace(cache: Cache, said: str | None) -> str | None:
    """Return the namespace whose entries are meant; None: those of all."""
    return None if said in EVERY_NAMESPACE else check_namespace(cache.namespace)


def printable(key: str) -> str:
    """Return a key for a terminal: control characters are escaped."""
    return key if key.isprintable() else key.encode("unicode_escape").decode("ascii")
