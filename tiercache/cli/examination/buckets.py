"""What is in a bucket below the prefix, what that costs a month, and whether its class and lifecycle rules suit it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ...cache import Cache
from ...errors import AccessDenied, BackendError, ConfigurationError, CorruptEntry, PartialFailure, TiercacheError
from ...findings import Finding, Grants
from ...objectstore import ClassRules, LifecycleChange, ObjectInfo, ObjectStoreBackend
from ...objectstore.classes import advice
from ...objectstore.mirror import gone_at
from ...packed import PackedBackend
from ...pricing import MONTH, dollars, storage_cost
from ...tier import Tier
from ..output import counted, size
from .rules import BY_AGE, change_of

PATIENCE = 30.0
"""Seconds for one request that lists or reads rules: some of them are slow."""
PLACE = "URL-OF-THIS-TIER"
"""Stands in a command for what names the tier, which the caller knows."""
SAMPLE = 40
"""Objects that are asked when they expire, where a listing does not tell it."""


@dataclass(slots=True)
class Contents:
    """What was seen below a prefix.

    Attributes:
        objects: that were looked at.
        bytes: they have.
        complete: whether that is all.
        by_class: objects in each storage class.
        monthly: what storing them costs a month, in US dollars; None: a class has no known price.
        expired: the share of them that are expired, and still billed; None: unknown.
    """

    objects: int = 0
    bytes: int = 0
    complete: bool = False
    by_class: dict[str, int] = field(default_factory=dict)
    monthly: float | None = None
    expired: float | None = None

    def __str__(self) -> str:
        count = f"{counted(self.objects, 'object')}, {size(self.bytes)}"
        cost = "" if self.monthly is None else f", {dollars(self.monthly)} a month to store"
        dead = f", {self.expired:.0%} expired" if self.expired else ""
        return f"{'' if self.complete else 'among others '}{count}{cost}{dead}"


def look_at(
    cache: Cache, tier: Tier, store: ObjectStoreBackend, *, objects: int
) -> tuple[Contents | None, list[Finding]]:
    """Return what is in the bucket, as far as `objects` goes, and what is to know of class and rules."""
    findings: list[Finding] = []
    contents, seen = None, list[ObjectInfo]()
    if objects:
        try:
            contents, seen = _listed(store, objects)
        except BackendError as error:
            findings.append(Finding(level="note", about="contents", text=f"what is there was not looked at: {error}"))
    packed = tier.backend if isinstance(tier.backend, PackedBackend) else None
    if contents is not None and packed is None:
        contents.expired = _expired(store, seen)
    if tier.write != "never":
        findings += _class(cache, tier, store, contents, packed)
        findings += _lifecycle(cache, tier, store, contents, packed)
    return contents, findings


def _due() -> float:
    return time.monotonic() + PATIENCE


def _listed(store: ObjectStoreBackend, most: int) -> tuple[Contents, list[ObjectInfo]]:
    seen: list[ObjectInfo] = []
    token: str | None = None
    while len(seen) < most:
        page, token = store.objects.list_page(store.prefix, token, deadline=_due())
        seen += [info for info in page if info.name.startswith(store.prefix)]
        if token is None:
            break
    contents = Contents(len(seen), sum(info.size for info in seen), token is None)
    costs: list[float | None] = []
    for name, infos in _in_classes(store, seen).items():
        contents.by_class[name] = len(infos)
        costs.append(_cost(store.rules.get(name), infos))
    contents.monthly = None if None in costs else sum(cost for cost in costs if cost is not None)
    return contents, seen


def _in_classes(store: ObjectStoreBackend, seen: Sequence[ObjectInfo]) -> dict[str, list[ObjectInfo]]:
    classes: dict[str, list[ObjectInfo]] = defaultdict(list)
    for info in seen:
        classes[info.storage_class or store.storage_class or "unknown"].append(info)
    return classes


def _cost(rules: ClassRules | None, infos: Sequence[ObjectInfo]) -> float | None:
    if rules is None or rules.prices is None:
        return None
    return sum(storage_cost(rules, 1, info.size, MONTH) for info in infos)


def _expired(store: ObjectStoreBackend, seen: Sequence[ObjectInfo]) -> float | None:
    """The share of objects that are expired: of all where the listing tells it, else of a few across it."""
    told = seen
    if not store.objects.lists_metadata:
        step = max(1, len(seen) // SAMPLE)
        names = [info.name for info in seen[::step][:SAMPLE]]
        try:
            found = store.side_by_side(names, lambda name, due: store.objects.stat(name, deadline=due), _due())
        except PartialFailure as failure:
            found = failure.results
        told = list(found.values())
    if not told:
        return None
    now = time.time()
    return sum(_is_gone(info, now) for info in told) / len(told)


def _is_gone(info: ObjectInfo, now: float) -> bool:
    try:
        end = gone_at(info.user_metadata or {})
    except CorruptEntry:
        return False
    return end is not None and end <= now


def _class(
    cache: Cache, tier: Tier, store: ObjectStoreBackend, contents: Contents | None, packed: PackedBackend | None
) -> Iterator[Finding]:
    """Whether the class bills entries for what they are."""
    name = tier.common_class or store.storage_class or ""
    rules = store.rules.get(name)
    if rules is None:
        return
    if packed is not None:
        each, segment = store.entry_bytes, packed.segment_bytes
    else:
        each, segment = _mean(contents) or store.entry_bytes, None
    text = advice(rules, ttl=_life(cache, tier), size=each, segment=segment)
    if text is not None:
        plain = rules.plain
        monthly = None
        if contents and contents.objects and contents.monthly is not None and plain is not None and plain.prices:
            monthly = contents.monthly - storage_cost(plain, contents.objects, _mean(contents), MONTH)
        option = "access_tier" if store.scheme == "az" else "storage_class"
        fix = f"{option}={plain.name}" if plain is not None else ""
        yield Finding(level="warning", about="class", text=text, fix=fix, monthly=monthly)


def _mean(contents: Contents | None) -> int:
    return 0 if contents is None or not contents.objects else contents.bytes // contents.objects


def _life(cache: Cache, tier: Tier) -> float | None:
    return min((seconds for seconds in (cache.ttl, tier.max_ttl) if seconds is not None), default=None)


def _lifecycle(
    cache: Cache, tier: Tier, store: ObjectStoreBackend, contents: Contents | None, packed: PackedBackend | None
) -> Iterator[Finding]:
    """Whether the store itself deletes what is expired."""
    life = _life(cache, tier)
    wasted = _wasted(contents)
    try:
        aimless = packed is None and life is None and _goes_by_age(store)  # a rule needs days, and nobody says how many
        grows = aimless and _grows(store)
        change = None if aimless else _missing(tier, life)
    except AccessDenied:
        yield Finding(
            level="note",
            about="lifecycle",
            text="these credentials do not show the lifecycle rules, as is right for a cache's" + _share(contents),
            fix=f"with an operator's credentials: `tiercache lifecycle show {PLACE}`{_statement(store)}",
            monthly=wasted,
        )
        return
    except TiercacheError as error:
        yield Finding(level="note", about="lifecycle", text=f"{error}{_share(contents)}", monthly=wasted)
        return
    if grows:
        yield Finding(
            level="note",
            about="lifecycle",
            text="entries have no ttl by this configuration, and no lifecycle rule deletes old ones: the bucket grows",
            fix=f"ttl=365d (cache) or max_ttl=365d (tier), and `tiercache lifecycle apply {PLACE} --expire-after 365d`",
        )
    if change is None:
        return
    if change.removed:
        text = "the lifecycle rule below this prefix is not the one for this cache's ttl"
    else:
        text = "no lifecycle rule deletes what is expired: it is a miss, and is paid for until something deletes it"
    option = "" if packed is not None or life is None else f" --expire-after {_days(life)}d"
    apply = f"`tiercache lifecycle apply {PLACE}{option}` (with an operator's credentials)"
    fix = f"{apply}, or `tiercache sweep {PLACE}` now and then"
    if option and tier.max_ttl is None:
        fix += f"; {BY_AGE}"
    yield Finding(level="warning", about="lifecycle", text=text + _share(contents), fix=fix, monthly=wasted)


def _missing(tier: Tier, life: float | None) -> LifecycleChange | None:
    """What would have to change, so that the store deletes what is expired; None: nothing."""
    change = change_of(tier.backend, life=life, dry_run=True, deadline=_due())
    # A rule with more days than the ttl is one that somebody chose; one with fewer deletes what is still good.
    chosen = bool(change.removed) and _days_of(change.removed) >= _days_of(change.added)
    return change if change.added and not chosen else None


def _goes_by_age(store: ObjectStoreBackend) -> bool:
    """Whether the store's rules know an object's age alone, and not when its entry ends."""
    with store.lifecycle_rules(deadline=_due()) as (rules, _):
        try:
            rules.wanted(store.prefix, None)
        except ConfigurationError:
            return True
    return False


def _grows(store: ObjectStoreBackend) -> bool:
    """Whether nothing that is there says when objects go."""
    with store.lifecycle_rules(deadline=_due()) as (rules, due):
        return not any(rules.owns(rule, store.prefix) for rule in rules.read(deadline=due))


def _days_of(rules: Sequence[dict[str, object]]) -> float:
    """The fewest days in rules, by whatever name a vendor calls them; infinite where they name none."""
    found = [days for rule in rules for days in _numbers(rule)]
    return min(found, default=float("inf"))


def _numbers(part: object) -> Iterator[float]:
    if isinstance(part, dict):
        for name, value in part.items():
            if name in ("Days", "age", "daysAfterModificationGreaterThan") and isinstance(value, (int, float)):
                yield value
            else:
                yield from _numbers(value)
    elif isinstance(part, list):
        for item in part:
            yield from _numbers(item)


def _statement(store: ObjectStoreBackend) -> str:
    return f"; these would need {store.allow('lifecycle')}" if isinstance(store, Grants) else ""


def _wasted(contents: Contents | None) -> float | None:
    if contents is None or contents.monthly is None or not contents.expired:
        return None
    return contents.monthly * contents.expired


def _share(contents: Contents | None) -> str:
    return "" if contents is None or not contents.expired else f"; {contents.expired:.0%} of what is there is expired"


def _days(seconds: float) -> int:
    return max(1, -(-int(seconds) // 86_400))
