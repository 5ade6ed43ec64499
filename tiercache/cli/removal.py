"""What `tiercache rm` is about: which entries, how they are removed, and who hears of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby, islice

from ..cache import Cache
from ..keys import check_key
from ..packed import PackedBackend
from ..tier import Tier
from .contents import Found, Selection, Walk, printable, tiers_of
from .copies import copies
from .purging import purge

LOOKED_AT = 10_000
"""Entries of a tier that are looked at for the preview."""
LOOKED_AT_DEARLY = 1000
"""The same, where each costs a request."""
BATCH = 500
PORTION = 200_000
"""Keys that are kept from showing them to deleting them; of more, those come first, and the rest after them."""
_EXAMPLES = 5


@dataclass
class Preview:
    """What would go from one tier.

    Attributes:
        tier: its name.
        entries: how many; at least, unless it is `complete`.
        bytes: that they take, as far as a listing tells.
        looked_at: entries that were listed for it.
        complete: whether all were.
        how: what is special about this tier.
        examples: some keys.
    """

    tier: str
    entries: int = 0
    bytes: int = 0
    looked_at: int = 0
    complete: bool = True
    how: str | None = None
    examples: list[str] = field(default_factory=list)

    def plus(self, other: Preview) -> Preview:
        """Return what this one and a later portion show together."""
        return Preview(
            self.tier,
            self.entries + other.entries,
            self.bytes + other.bytes,
            self.looked_at + other.looked_at,
            other.complete,
            self.how,
            (self.examples + other.examples)[:_EXAMPLES],
        )

    def add(self, key: str, size: int) -> None:
        """Count an entry."""
        self.entries += 1
        self.bytes += size
        if len(self.examples) < _EXAMPLES:
            self.examples.append(printable(key))


@dataclass
class Removal:
    """One of: keys, a prefix, tags, a tenant, everything.

    Attributes:
        cache: on the chain.
        namespace: of which; None: of all.
        purge: whether what is invalidated is deleted, too.
        chosen: full keys that were shown, and are deleted: these and no others.
    """

    cache: Cache
    namespace: str | None
    keys: tuple[str, ...] = ()
    prefix: str = ""
    tags: tuple[str, ...] = ()
    tenant: str | None = None
    everything: bool = False
    purge: bool = False
    chosen: dict[str, None] = field(default_factory=dict, repr=False)

    @property
    def invalidates(self) -> bool:
        """Whether marks make the entries misses, however many there are."""
        return bool(self.tags) or self.everything

    @property
    def counts(self) -> bool:
        """Whether it is known afterwards how many there were."""
        return not self.invalidates or (self.purge and not self.everything)

    @property
    def verb(self) -> str:
        """What is done."""
        return "Delete" if not self.invalidates else "Invalidate and delete" if self.purge else "Invalidate"

    @property
    def what(self) -> str:
        """What it is done to, for people."""
        where = "in all namespaces" if self.namespace is None else f"of namespace {self.namespace}"
        if self.keys:
            some = ", ".join(map(printable, self.keys[:3])) + (", …" if len(self.keys) > 3 else "")
            return f"{len(self.keys)} keys {where} ({some})" if len(self.keys) > 1 else f"key {some} {where}"
        if self.prefix:
            return f"keys {where} that start with {printable(self.prefix)}"
        if self.tags:
            return f"entries {where} with the tag {' or '.join(map(printable, self.tags))}"
        return f"entries {where}" + ("" if self.tenant is None else f" of the tenant {printable(self.tenant)}")

    @property
    def told(self) -> str:
        """When other processes see it, for people."""
        carrier = self.cache.chain.coherence.carrier
        if carrier is not None and carrier.write != "never":
            return f"other processes drop it from their memory at once: they are told through {carrier.label}"
        if self.invalidates:
            return "other processes see it within their epoch_refresh (30 s unless they say otherwise)"
        return (
            "other processes keep what they have of it in memory until it expires or is evicted there: no tier of this "
            "chain carries notices, as Redis does (--tag and --all reach them within 30 s)"
        )

    @property
    def selection(self) -> Selection:
        """The entries, for a listing."""
        return Selection(self.namespace, self.prefix, frozenset(self.tags), self.tenant)

    @property
    def tiers(self) -> list[Tier]:
        """The tiers that lose them."""
        return [tier for tier in tiers_of(self.cache) if tier.write != "never"]

    # Looking

    def preview(self, *, keep: bool, progress: Callable[[int], object] = lambda count: None) -> list[Preview]:
        """Return what would go, tier by tier.

        Args:
            keep: look at all that is to be deleted, and keep its keys in `chosen`, up to `PORTION`; otherwise the
                first entries are enough. What is invalidated is not deleted by its keys.
            progress: called with each number of entries more that were looked at.
        """
        self.chosen = {}
        if self.keys:
            return self._preview_of_keys()
        return [self._preview(tier, keep=keep and not self.invalidates, progress=progress) for tier in self.tiers]

    def _preview(self, tier: Tier, *, keep: bool, progress: Callable[[int], object]) -> Preview:
        preview = Preview(tier.label, how=_how(tier))
        walk, told = Walk(self.cache, tier, self.selection), 0
        dear = self.selection.needs_metadata and getattr(tier.backend, "scan_is_dear_in_full", False)
        most = LOOKED_AT_DEARLY if dear else LOOKED_AT
        for found in walk:
            if keep and found.full not in self.chosen and len(self.chosen) >= PORTION:
                break
            if keep:
                self.chosen[found.full] = None
            if not (found.dead and self.invalidates and not self.purge):
                preview.add(found.full if self.namespace is None else found.key, found.stored)
            if not keep and walk.looked_at >= most:
                break
            if walk.looked_at - told >= BATCH:
                progress(walk.looked_at - told)
                told = walk.looked_at
        preview.looked_at, preview.complete = walk.looked_at, walk.complete
        return preview

    def _preview_of_keys(self) -> list[Preview]:
        previews = {tier.label: Preview(tier.label, how=_how(tier)) for tier in self.tiers}
        self.chosen = dict.fromkeys(self._fulls())
        for full in self.chosen:
            for copy in copies(self.cache, full):
                if copy.error is not None:
                    raise copy.error
                if copy.tier in previews:
                    previews[copy.tier].looked_at += 1
                    if copy.is_there:
                        shown = full if self.namespace is None else full.partition(":")[2]
                        previews[copy.tier].add(shown, copy.stored or 0)
        self.cache.chain.strict = True  # looking at copies lets failures pass
        return list(previews.values())

    # Removing

    def remove(self, progress: Callable[[int], object]) -> int:
        """Do it; return how many keys were deleted. `progress` is called with each number more."""
        if self.everything:
            for cache in self._caches():
                cache.clear(purge=self.purge)
                progress(1)
            return 0
        if self.tags:
            for cache in self._caches():
                cache.invalidate_tags(self.tags)
            return self._purge(progress) if self.purge else 0
        shown = iter(self.chosen)
        removed = 0
        while batch := list(islice(shown, BATCH)):
            removed += sum(self._delete(name, keys, progress) for name, keys in _by_namespace(batch))
        return removed

    def _purge(self, progress: Callable[[int], object]) -> int:
        removed: set[str] = set()
        for tier in self.tiers:
            removed |= purge(self.cache, tier, self.selection, progress)
        return len(removed)

    def _delete(self, namespace: str, keys: list[str], progress: Callable[[int], object]) -> int:
        """Delete from all tiers, in a way of which other processes hear."""
        self._cache(namespace).delete_many(keys)
        progress(len(keys))
        return len(keys)

    def _fulls(self) -> list[str]:
        names = [self.namespace] if self.namespace is not None else self._namespaces()
        return [f"{name}:{check_key(key)}" for name in names for key in self.keys]

    def _caches(self) -> Iterator[Cache]:
        names = [self.namespace] if self.namespace is not None else self._namespaces()
        return map(self._cache, names)

    def _cache(self, namespace: str) -> Cache:
        return self.cache if namespace == self.cache.namespace else Cache(self.cache.chain, namespace=namespace)

    def _namespaces(self) -> list[str]:
        every: Iterator[Found] = (found for tier in self.tiers for found in Walk(self.cache, tier, Selection(None)))
        return sorted({found.namespace for found in every})


def _by_namespace(fulls: list[str]) -> list[tuple[str, list[str]]]:
    ordered = sorted(fulls, key=lambda full: full.partition(":")[0])
    groups = groupby(ordered, key=lambda full: full.partition(":")[0])
    return [(name, [full.partition(":")[2] for full in group]) for name, group in groups]


def _how(tier: Tier) -> str | None:
    return "the bytes go when segments are swept or compacted" if isinstance(tier.backend, PackedBackend) else None
