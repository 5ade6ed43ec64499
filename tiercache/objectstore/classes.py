"""Storage classes as data: what one costs, what it bills at least, and whether a cache can live in it.

The tables stand with the vendors (`tiercache_s3.classes`, …); the backends, the warnings, `tiercache.pricing` and
the documentation all read them there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import ConfigurationError
from ..pricing import DAY, GB, MONTH, Prices, billed_bytes, dollars, packed, prices_of, storage_cost
from ..storage_class import GRACE
from ..units import shown_bytes

__all__ = ["ClassRules", "Prices", "advice", "suits", "usable"]

MILLION = 1_000_000
YEAR = 12.0
"""Months for which entries that never expire are counted, where class is compared with class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRules:
    """What a vendor's storage class means for a cache.

    Attributes:
        store: the vendor's store, as people call it: `S3`.
        name: the class, as the store's API writes it.
        prices: list prices; None for classes that are not written to.
        min_billable_bytes: a smaller object is billed as if it had so many bytes.
        min_bytes_scope: where that minimum holds, if it does not hold everywhere.
        overhead_bytes: billed with each object on top of its own.
        monitored_bytes: objects of this size and larger are watched, at `prices.monitoring`; 0: none is.
        min_days: an object that is deleted or replaced earlier is billed until then.
        refused: why a cache cannot write to it and what to choose instead; empty when it can.
        archived: whether an object must be restored before it can be read.
        exclusive: whether its buckets take no other class, and other buckets do not take it.
        plain: the class of the same store that bills no minimum; None: this one bills none either.
        note: what else to know before choosing it.
        sources: where the figures come from, with the date.
        unconfirmed: the names of those prices that no source of the vendor confirmed; what is made of them is shown
            with "about".
    """

    store: str
    name: str
    prices: Prices | None = None
    min_billable_bytes: int = 0
    min_bytes_scope: str = ""
    overhead_bytes: int = 0
    monitored_bytes: int = 0
    min_days: int = 0
    refused: str = ""
    archived: bool = False
    exclusive: bool = False
    plain: ClassRules | None = field(default=None, repr=False)
    note: str = ""
    sources: tuple[str, ...] = field(default=(), repr=False)
    unconfirmed: frozenset[str] = frozenset()


def usable(
    rules: Mapping[str, ClassRules], name: str, option: str = "storage_class", *, beside: str | None = None
) -> ClassRules:
    """Return the rules of a class that a cache can write to.

    Args:
        rules: the table of the store.
        name: the class that somebody asks for.
        option: what the option is called, for the message.
        beside: the class that the backend writes to by default, where another may be asked for.

    Raises:
        ConfigurationError: the store has no such class, or it cannot serve a cache; the message says what to choose.
    """
    if not rules:
        raise ConfigurationError(f"this store has no storage classes; leave {option} out")
    found = rules.get(name) if isinstance(name, str) else None
    if found is None:
        shown = f"={str(name)!r}" if isinstance(name, str) else f" of type {type(name).__name__}"
        raise ConfigurationError(f"{option}{shown} is unknown to {choices(rules)}")
    if found.refused:
        raise ConfigurationError(f"{option}={found.name!r} cannot serve a cache: {found.refused}")
    if not mixes(rules, found.name, beside):
        raise ConfigurationError(
            f"{option}={found.name!r} does not go with the backend's own class {beside}: no bucket takes both; "
            "make a backend for each"
        )
    return found


def mixes(rules: Mapping[str, ClassRules], name: str, beside: str | None) -> bool:
    """Return whether a class of the store goes into the same buckets as another one (S3 Express goes with none)."""
    other = rules.get(beside or "")
    return other is None or other.exclusive == rules[name].exclusive


def choices(rules: Mapping[str, ClassRules]) -> str:
    """Return the store and its classes that a cache can write to, for a message."""
    usable_ones = [one for one in rules.values() if not one.refused]
    return f"{usable_ones[0].store}; choose one of {', '.join(one.name for one in usable_ones)}"


def advice(rules: ClassRules, *, ttl: float | None, size: int, segment: int | None = None) -> str | None:
    """Return what to tell somebody who keeps entries in this class; None when it bills them for what they are.

    The text says what a million entries cost to store, what they would cost without the class's minimums, and what
    to choose.

    Args:
        rules: of the class.
        ttl: seconds that an entry lives; None: for ever.
        size: stored bytes of an entry.
        segment: bytes of an object in which many entries are packed; None: each entry is an object.
    """
    each, object_bytes = (1, size) if segment is None else packed(size, segment)
    objects = MILLION / each
    small, short = _shortfalls(rules, ttl, object_bytes)
    if rules.prices is None or not (small or short):
        return None
    # Entries that live long are counted by the month, those that do not for the days that they live.
    counted = ttl / DAY if short and ttl is not None else MONTH
    billed = storage_cost(rules, objects, object_bytes, max(counted, rules.min_days) if short else MONTH)
    alone = objects * object_bytes / GB * prices_of(rules).storage * counted / MONTH
    about = _about(rules, "storage")
    packing = "" if segment is None else f" in segments of {shown_bytes(segment)}"
    least = [f"as {shown_bytes(billed_bytes(rules, object_bytes))}"] * small + [f"for {rules.min_days} days"] * short
    scope = f" ({rules.min_bytes_scope})" if small and rules.min_bytes_scope else ""
    return (
        f"{rules.store} {rules.name} bills each object {' and '.join(least)} at least{scope}: "
        f"a million entries of {shown_bytes(size)}{packing}{f' that live {_shown_days(counted)}' * short} "
        f"cost {about}{dollars(billed)}{' a month' * (not short)} to store, where their "
        f"{' and '.join(['bytes'] * small + ['days'] * short)} alone would cost {about}{dollars(alone)}. "
    ) + _choice(rules, objects, object_bytes, billed, counted, months=_months(ttl, short), packs=segment is not None)


def suits(rules: ClassRules, *, ttl: float | None, size: int) -> bool:
    """Whether the class bills an entry for what it is: `advice` has nothing to say."""
    return rules.prices is None or not any(_shortfalls(rules, ttl, size))


def _shortfalls(rules: ClassRules, ttl: float | None, size: int) -> tuple[bool, bool]:
    """Whether an entry is smaller than what is billed, and whether it lives shorter."""
    return billed_bytes(rules, size) > size, ttl is not None and ttl + GRACE < rules.min_days * DAY


def _months(ttl: float | None, short: bool) -> float:
    """For how many months of storage an entry is compared, where `billed` holds one, or all of a short life."""
    return 1.0 if short else YEAR if ttl is None else ttl / DAY / MONTH


def _choice(
    rules: ClassRules, objects: float, size: int, billed: float, counted: float, *, months: float, packs: bool
) -> str:
    """What to choose: the plain class, unless this one is cheaper over an entry's life, its write included."""
    limits = [f"over {shown_bytes(rules.min_billable_bytes)}"] * bool(rules.min_billable_bytes)
    limits += [f"that live {rules.min_days} days or longer"] * bool(rules.min_days)
    keep = f"keep this class for {'segments' if packs else 'entries'} {' '.join(limits)} (see StorageClassRule)"
    plain = rules.plain
    if plain is None or plain.prices is None:
        return f"K{keep[1:]}."
    here, there = (objects / 1000 * prices_of(one).write for one in (rules, plain))
    stored = storage_cost(plain, objects, size, counted)
    plainly = (
        f"{plain.name} stores them for {_about(plain, 'storage')}{dollars(stored)} and writes them for "
        f"{_about(plain, 'write')}{dollars(there)}, not {_about(rules, 'write')}{dollars(here)}"
    )
    if stored * months + there <= billed * months + here:
        return f"{plainly}: choose {plain.name}, or {keep}."
    return f"{plainly}: over their life this class is the cheaper one even so."


def _shown_days(days: float) -> str:
    units = (("day", 1), ("hour", 24), ("minute", 1440), ("second", 86_400))
    name, a_day = next((unit for unit in units if days * unit[1] >= 1), units[-1])
    count = f"{days * a_day:.1f}".removesuffix(".0")
    return f"{count} {name}{'' if count == '1' else 's'}"


def _about(rules: ClassRules, price: str) -> str:
    return "about " if price in rules.unconfirmed else ""
