"""What a tier in an object store costs a month: storage, requests, retrieval, as the vendor bills them.

1 GB is 2**30 bytes and a month is 30 days, as in the price lists. Network traffic is not counted: within a region it
is free. The figures are list prices (`tiercache.objectstore.ClassRules` says whose and when); a bill has discounts,
taxes and a free tier besides.
"""

from __future__ import annotations

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
        is_estimate: whether a price in it could not be confirmed (`ClassRules.unconfirmed`).
    """

    storage: float
    writes: float
    reads: float
    retrieval: float = 0.0
    upload: float = 0.0
    is_estimate: bool = False

    @property
    def total(self) -> float:
        """All of it."""
        return self.storage + self.writes + self.reads + self.retrieval + self.upload

    def __str__(self) -> str:
        parts = {
            "storage": self.storage,
            "writes": self.writes,
            "reads": self.reads,
            "retrieval": self.retrieval,
            "upload": self.upload,
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
) -> MonthlyCost:
    """Return what entries in a storage class cost a month, one object an entry.

    Args:
        rules: of the class, such as `S3Backend.rules["STANDARD"]`.
        entries: how many are there on average.
        size: stored bytes of one of them, such as `8192` or `"8KiB"`.
        reads: hits a month, all entries together. (A miss is a read as well: S3 bills it.)
        writes: a month, all entries together; None: each entry once a lifetime, or once a month without one.
        lifetime: how long an entry stays until it expires or is replaced: seconds, a `timedelta` or text such as
            `"12h"`. Where it is shorter than the class's minimum, each write is billed until the minimum. None:
            long enough.

    Raises:
        ConfigurationError: the class has no known prices, or an argument is no such number.
    """
    prices = prices_of(rules)
    bytes_each = parse_size(size, "size")
    days = None if lifetime is None else parse_duration(lifetime, "lifetime") / DAY
    if not (_is_amount(entries) and _is_amount(reads) and (writes is None or _is_amount(writes))):
        raise ConfigurationError("entries, reads and writes must be finite numbers, and not negative")
    if writes is None:
        writes = entries * MONTH / days if days else entries
    amounts = {"storage": entries, "write": writes, "upload": writes, "read": reads, "retrieval": reads}
    early = 0.0 if days is None else max(0.0, rules.min_days - days)
    watched = entries if rules.monitored_bytes and bytes_each >= rules.monitored_bytes else 0.0
    return MonthlyCost(
        storage=storage_cost(rules, entries, bytes_each, MONTH)
        + storage_cost(rules, writes, bytes_each, early)
        + watched / 1000 * prices.monitoring,
        writes=writes / 1000 * prices.write,
        reads=reads / 1000 * prices.read,
        retrieval=reads * bytes_each / GB * prices.retrieval,
        upload=writes * bytes_each / GB * prices.upload,
        is_estimate=any(amounts[price] for price in rules.unconfirmed),
    )


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
        ConfigurationError: nobody needs them, for the class is not written to.
    """
    if rules.prices is None:
        raise ConfigurationError(f"{rules.store} {rules.name} has no prices here: {rules.refused}")
    return rules.prices


def dollars(amount: float) -> str:
    """Return an amount for people: cents, and below a cent as many digits as tell it from nothing."""
    if amount >= 0.005 or amount == 0:
        return f"${amount:,.2f}"
    return f"${amount:.4f}" if amount >= 0.000_05 else "under $0.0001"
