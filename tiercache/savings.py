"""What hits saved: calls, tokens, money and seconds, per model and tier, from what the entries say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .entry import AttributeValue


@dataclass(frozen=True, slots=True)
class Saving:
    """What one hit, or many, did not cost again.

    Attributes:
        calls: calls of a provider that were not made; a vector out of a batch counts as the part of one that it was.
        input_tokens, output_tokens: tokens as the provider counted them, cached ones of its own included.
        usd: US dollars at list prices, as the entry was made; 0 where no price is known.
        unpriced: calls without a known price; where there are any, `usd` is too low.
        seconds: how long the calls took.
    """

    calls: float = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0
    unpriced: float = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, attributes: Mapping[str, AttributeValue]) -> Saving:
        """Return what a hit on an entry with these attributes saves; names are those of the fields."""
        calls = _number(attributes.get("calls"), 1)
        usd = attributes.get("usd")
        return cls(
            calls=calls,
            input_tokens=int(_number(attributes.get("input_tokens"))),
            output_tokens=int(_number(attributes.get("output_tokens"))),
            usd=_number(usd),
            unpriced=calls if usd is None else 0,
            seconds=_number(attributes.get("seconds")),
        )

    def __add__(self, other: Saving) -> Saving:
        return Saving(
            self.calls + other.calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.usd + other.usd,
            self.unpriced + other.unpriced,
            self.seconds + other.seconds,
        )

    def __mul__(self, times: int) -> Saving:
        return Saving(
            self.calls * times,
            self.input_tokens * times,
            self.output_tokens * times,
            self.usd * times,
            self.unpriced * times,
            self.seconds * times,
        )


NOTHING = Saving()


@dataclass(frozen=True, slots=True)
class Savings:
    """What the hits of one cache saved since the start or the last reset.

    Attributes:
        namespace: the cache's.
        rows: by model and tier; the tier `shared` stands for callers who got the answer to a call that another caller
            of this process had under way.
    """

    namespace: str = ""
    rows: Mapping[tuple[str, str], Saving] = field(default_factory=dict)

    @property
    def total(self) -> Saving:
        """Everything together."""
        return sum(self.rows.values(), NOTHING)

    @property
    def by_model(self) -> dict[str, Saving]:
        """Sums for each model."""
        return self._summed(0)

    @property
    def by_tier(self) -> dict[str, Saving]:
        """Sums for each tier."""
        return self._summed(1)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain dicts and lists, ready for JSON."""
        rows = [{"model": model, "tier": tier, **asdict(saving)} for (model, tier), saving in self.rows.items()]
        return {"namespace": self.namespace, "rows": rows, "total": asdict(self.total)}

    def _summed(self, part: int) -> dict[str, Saving]:
        sums: dict[str, Saving] = {}
        for row, saving in self.rows.items():
            sums[row[part]] = sums.get(row[part], NOTHING) + saving
        return sums


SHARED = "shared"
"""Stands for the tier where a caller got the answer to another caller's call."""


class Ledger:
    """Where a cache notes what its hits saved. Counters without a lock, as in `tiercache.stats`."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], _Row] = {}

    def record(self, attributes: Mapping[str, AttributeValue], tier: str | None) -> Saving:
        """Count a hit on an entry with these attributes, in the tier of that name (None: `shared`); return it."""
        saving = Saving.of(attributes)
        model = attributes.get("model")
        self.add(model if isinstance(model, str) else "", tier or SHARED, saving)
        return saving

    def add(self, model: str, tier: str, saving: Saving) -> None:
        """Count what was saved; a caller with many hits adds them up first."""
        row = self._rows.get((model, tier))
        if row is None:
            row = self._rows.setdefault((model, tier), _Row())
        calls, usd, unpriced, seconds = saving.calls, saving.usd, saving.unpriced, saving.seconds
        inputs, outputs = saving.input_tokens, saving.output_tokens
        row.calls += calls
        row.input_tokens += inputs
        row.output_tokens += outputs
        row.usd += usd
        row.unpriced += unpriced
        row.seconds += seconds

    def snapshot(self, namespace: str) -> Savings:
        """Return what was counted."""
        return Savings(namespace, {key: row.saving() for key, row in list(self._rows.items())})


class _Row:
    __slots__ = ("calls", "input_tokens", "output_tokens", "seconds", "unpriced", "usd")

    def __init__(self) -> None:
        self.calls = self.usd = self.unpriced = self.seconds = 0.0
        self.input_tokens = self.output_tokens = 0

    def saving(self) -> Saving:
        return Saving(self.calls, self.input_tokens, self.output_tokens, self.usd, self.unpriced, self.seconds)


def _number(value: AttributeValue, default: float = 0) -> float:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else default
