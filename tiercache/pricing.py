"""What a tier in an object store costs a month: storage, requests, retrieval, as the vendor bills them.

1 GB is 2**30 bytes and a month is 30 days, as in the price lists. Network traffic is not counted: within a region it
is free. The figures are list prices (`tiercache.objectstore.ClassRules` says whose and when); a bill has discounts,
taxes and a free tier besides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import ConfigurationError
from .units import Duration, Size, parse_duration, parse_size

if TYPE_CHECKING:
    from .objectstore.classes import ClassRules

GB = 2**30
DAY = 86_400.0
MONTH = 30.0
"""Days that a month is billed with."""
_MOST = 1e30  # entries or requests: what is more is no number of them

# What the format of packed segments (`tiercache.packed`) adds to the bytes that are stored.
PACKED_INDEX_BYTES = 34
"""An entry's place in the index at the end of its segment: digest, stamp, expiry, offset and length."""
PACKED_KEY_BYTES = 35
"""An entry's key in the compressed block of keys, measured for keys that end in 64 hexadecimal digits, as ours do."""
PACKED_PADDING_BYTES = 4
"""What aligns an entry to 8 bytes: 0 to 7, which is 3.5 on average."""
PACKED_ENTRY_BYTES = PACKED_INDEX_BYTES + PACKED_KEY_BYTES + PACKED_PADDING_BYTES
"""All that an entry costs beside its own bytes."""
PACKED_SEGMENT_BYTES = 112
"""Header and footer of a segment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """The list prices of a storage class, in US dollars.

    Attributes:
        storage: a GB-month.
        write: 1,000 writes (PUT).
        read: 1,000 reads (GET, HEAD).
        retrieval: a GB that is read.
        upload: a GB that is written.
        monitoring: 1,000 objects for a month, of those that a class watches (`ClassRules.monitored_bytes`).
    """

    storage: float
    write: float
    read: float
    retrieval: float = 0.0
    upload: float = 0.0
    monitoring: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthlyCost:
    """What a tier costs a month, in US dollars, by what is billed.

    Attributes:
        storage: what is stored, with the minimums that the class bills, and its monitoring.
        writes: the write requests.
        reads: the read requests.
        retrieval: the bytes that were read.
        upload: the bytes that were written.
        lists: the listings.
        is_estimate: whether a price in it could not be confirmed (`ClassRules.unconfirmed`).
    """

    storage: float
    writes: float
    reads: float
    retrieval: float = 0.0
    upload: float = 0.0
    lists: float = 0.0
    is_estimate: bool = False

    @property
    def total(self) -> float:
        """All of it."""
        return self.storage + self.writes + self.reads + self.retrieval + self.upload + self.lists

    def __str__(self) -> str:
        parts = {
            "storage": self.storage,
            "writes": self.writes,
            "reads": self.reads,
            "retrieval": self.retrieval,
            "upload": self.upload,
            "lists": self.lists,
        }
        billed = ", ".join(f"{name} {dollars(amount)}" for name, amount in parts.items() if amount)
        about = "about " if self.is_estimate else ""
        return f"{about}{dollars(self.total)} a month ({billed or 'nothing'})"


def monthly_cost(
    rules: ClassRules,
    *,
    entries: float,
    size: Size,
    reads: float = 0,
    writes: float | None = None,
    lifetime: Duration | None = None,
    segment: Size | None = None,
) -> MonthlyCost:
    """Return what entries in a storage class cost a month, one object an entry or packed into segments.

    Args:
        rules: of the class, such as `S3Backend.rules["STANDARD"]`.
        entries: how many are there on average.
        size: stored bytes of one of them, such as `8192` or `"8KiB"`.
        reads: hits a month, all entries together: one GET each, packed or not. (A miss is a read as well where one
            object holds one entry: S3 bills it. The catalogue of a packed backend answers it for nothing.)
        writes: of entries a month, all together; None: each entry once a lifetime, or once a month without one.
        lifetime: how long an entry stays until it expires or is replaced: seconds, a `timedelta` or text such as
            `"12h"`. Where it is shorter than the class's minimum, each write is billed until the minimum. None:
            long enough.
        segment: bytes of a packed segment, such as `"8MiB"`: writes, the class's minimums and its monitoring are then
            counted by the segment. Where entries trickle in, it is what a process writes in one `flush_after`, not
            `segment_bytes`. What finding segments costs is `discovery_cost`. None: one object an entry.

    Raises:
        ConfigurationError: the class has no known prices, or an argument is no such number.
    """
    prices = prices_of(rules)
    bytes_each = parse_size(size, "size")
    days = None if lifetime is None else parse_duration(lifetime, "lifetime") / DAY
    _check_amounts(entries=entries, reads=reads, writes=0 if writes is None else writes)
    if writes is None:
        writes = entries * MONTH / days if days else entries
    each, object_bytes = 1, bytes_each
    if segment is not None:
        each, object_bytes = packed(bytes_each, parse_size(segment, "segment"), most=max(entries, writes))
    stored, written = entries / each, writes / each
    amounts = {"storage": entries, "write": writes, "upload": writes, "read": reads, "retrieval": reads}
    early = 0.0 if days is None else max(0.0, rules.min_days - days)
    watched = stored if rules.monitored_bytes and object_bytes >= rules.monitored_bytes else 0.0
    return MonthlyCost(
        storage=storage_cost(rules, stored, object_bytes, MONTH)
        + storage_cost(rules, written, object_bytes, early)
        + watched / 1000 * prices.monitoring,
        writes=written / 1000 * prices.write,
        reads=reads / 1000 * prices.read,
        retrieval=reads * bytes_each / GB * prices.retrieval,
        upload=written * object_bytes / GB * prices.upload,
        is_estimate=any(amounts[price] for price in rules.unconfirmed),
    )


def packed(size: int, segment: int, *, most: float = _MOST) -> tuple[int, int]:
    """Return how many entries of `size` bytes a segment of `segment` bytes holds, and what it has with them.

    The entry that makes it full still goes in. It holds one at least, and `most` at most: no more than there are.
    """
    each = size + PACKED_ENTRY_BYTES
    full = -(-(segment - PACKED_SEGMENT_BYTES) // each)
    count = max(1, int(min(full, most)))
    return count, count * each + PACKED_SEGMENT_BYTES


def discovery_cost(
    rules: ClassRules,
    *,
    processes: float = 1,
    refresh: Duration = 60,
    lists: float = 1,
    segments: float = 0,
    entries: float = 0,
) -> MonthlyCost:
    """Return what it costs a month that processes look for packed segments of each other.

    A listing is billed like a write: on S3 and Google Cloud Storage at its price, on Azure at one of its own that is
    about that. It does not depend on how many hits there are, and for a cache of a few cents it is most of the bill.

    Args:
        rules: of the class.
        processes: that run all month with a packed backend of this store.
        refresh: seconds from look to look, the backend's option.
        lists: requests of one look: 1 for each 1,000 segments, up to 7; for more than 7,000, 1 for each of the 6
            TTL buckets.
        segments: new ones a month; each process reads the tail of each, one GET.
        entries: in these segments, for what the tails' bytes cost to retrieve.

    Raises:
        ConfigurationError: the class has no known prices, or an argument is no such number.
    """
    prices = prices_of(rules)
    _check_amounts(processes=processes, lists=lists, segments=segments, entries=entries)
    looks = MONTH * DAY / parse_duration(refresh, "refresh")
    tail_bytes = entries * PACKED_INDEX_BYTES + segments * PACKED_SEGMENT_BYTES
    amounts = {"write": lists, "read": segments, "retrieval": segments}
    return MonthlyCost(
        storage=0.0,
        writes=0.0,
        reads=processes * segments / 1000 * prices.read,
        retrieval=processes * tail_bytes / GB * prices.retrieval,
        lists=processes * looks * lists / 1000 * prices.write,
        is_estimate=any(amounts.get(price, 0) for price in rules.unconfirmed),
    )


def cheapest(
    rules: Iterable[ClassRules],
    *,
    entries: float,
    size: Size,
    reads: float = 0,
    writes: float | None = None,
    lifetime: Duration | None = None,
    segment: Size | None = None,
) -> ClassRules:
    """Return the class in which entries cost least a month (see `monthly_cost` for the arguments).

    Classes that cannot serve a cache are left out. Whether one zone is safe enough, and whether the bucket takes the
    class (`ClassRules.note`), is yours to judge: give it only the rules that come into question.

    Raises:
        ConfigurationError: none of these classes can serve a cache, or an argument is no such number.
    """

    def total(one: ClassRules) -> float:
        return monthly_cost(
            one, entries=entries, size=size, reads=reads, writes=writes, lifetime=lifetime, segment=segment
        ).total

    usable = [one for one in rules if not one.refused and one.prices is not None]
    if not usable:
        raise ConfigurationError("none of these classes can serve a cache; give the rules of a store's usable ones")
    return min(usable, key=total)


def _check_amounts(**amounts: object) -> None:
    wrong = [name for name, amount in amounts.items() if not _is_amount(amount)]
    if wrong:
        raise ConfigurationError(f"{' and '.join(wrong)} must be finite numbers, and not negative")


def _is_amount(number: object) -> bool:
    return isinstance(number, (int, float)) and 0 <= number <= _MOST


def billed_bytes(rules: ClassRules, size: int) -> int:
    """Return the bytes for which an object of this size is billed as stored."""
    return max(size, rules.min_billable_bytes) + rules.overhead_bytes


def storage_cost(rules: ClassRules, entries: float, size: int, days: float) -> float:
    """Return what it costs to store objects of this many bytes for this many days, which may be a fraction."""
    return entries * billed_bytes(rules, size) / GB * prices_of(rules).storage * days / MONTH


def prices_of(rules: ClassRules) -> Prices:
    """Return the prices of a class.

    Raises:
        ConfigurationError: nobody needs them, for the class is not written to; or this is no class.
    """
    if not hasattr(rules, "prices"):
        raise ConfigurationError(
            f"rules must be those of a storage class, as in S3Backend.rules['STANDARD'], not {type(rules).__name__}"
        )
    if rules.prices is None:
        raise ConfigurationError(f"{rules.store} {rules.name} has no prices here: {rules.refused}")
    return rules.prices


def dollars(amount: float) -> str:
    """Return an amount for people: cents, and below a cent as many digits as tell it from nothing."""
    if amount >= 0.005 or amount == 0:
        return f"${amount:,.2f}"
    return f"${amount:.4f}" if amount >= 0.000_05 else "under $0.0001"
