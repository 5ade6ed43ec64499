"""How two things are timed beside each other on a noisy machine, and the row of the table that comes of it.

Each round times every contender once, in an order that turns round with each round. A ratio is the median of the
rounds' own ratios, so that a machine that slows down for a while slows both sides of most ratios. As in `timeit`, the
garbage collector is off while something is timed.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from time import get_clock_info, perf_counter_ns, thread_time_ns
from typing import Any, Literal, TypeVar

Timer = Callable[[], int]
WALL: Timer = perf_counter_ns
# For what never waits: the turns of other processes do not count.
CPU: Timer = thread_time_ns if get_clock_info("thread_time").resolution < 1e-6 else perf_counter_ns
Sample = Callable[[], float]
"""Times one contender once and returns what one operation took."""
Samples = Mapping[str, list[float]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bound:
    """What a row must keep: `times` and `faster` limit the ratio, `at_most` the figure itself."""

    kind: Literal["times", "faster", "at_most"]
    limit: float

    def __str__(self) -> str:
        return {"times": "<= {:g}x", "faster": ">= {:g}x faster", "at_most": "<= {:g}"}[self.kind].format(self.limit)


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison.

    Attributes:
        area: the file that measured it.
        name: what was measured.
        unit: of `ours` and `theirs`: `ns`, `µs`, `bytes`, `requests` …
        ours, theirs: the figures; None when there is none.
        peer: what `theirs` is.
        ratio: ours / theirs.
        spread: the quartiles of the rounds' ratios.
        bound: what must hold; None: for information.
        note: why there is no figure, or what to know about it.
    """

    area: str
    name: str
    unit: str = ""
    ours: float | None = None
    peer: str = ""
    theirs: float | None = None
    ratio: float | None = None
    spread: tuple[float, float] | None = None
    bound: Bound | None = None
    note: str = ""

    @property
    def verdict(self) -> Literal["ok", "missed", "info", "no figure"]:
        """Whether the bound holds."""
        if self.ours is None or (self.theirs is None and self.peer):
            return "no figure"
        if self.bound is None:
            return "info"
        figure = self.ours if self.bound.kind == "at_most" else self.ratio
        if figure is None:
            return "no figure"
        kept = 1 / figure >= self.bound.limit if self.bound.kind == "faster" else figure <= self.bound.limit
        return "ok" if kept else "missed"

    def as_dict(self) -> dict[str, Any]:
        """Return the row ready for JSON."""
        return asdict(self) | {"bound": str(self.bound) if self.bound else None, "verdict": self.verdict}


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    quick: bool = False

    def rounds(self, full: int) -> int:
        """Return the number of rounds; an odd one, so that the median is a round that happened."""
        return max(3, full // 5 | 1) if self.quick else full | 1


def times(limit: float) -> Bound:
    """At most `limit` times the peer."""
    return Bound("times", limit)


def faster(limit: float) -> Bound:
    """At least `limit` times faster than the peer."""
    return Bound("faster", limit)


def at_most(limit: float) -> Bound:
    """The figure itself is at most `limit`."""
    return Bound("at_most", limit)


@contextmanager
def no_gc() -> Iterator[None]:
    """Collect now and not again until the block ends."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def interleave(contenders: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Time each contender once a round, after one round that does not count."""
    gc.collect()
    gc.freeze()  # what the caches hold need not be walked again before every sample
    samples: dict[str, list[T]] = {name: [] for name in contenders}
    try:
        for number in range(rounds + 1):
            for name in list(contenders)[:: 1 if number % 2 else -1]:
                with no_gc():
                    took = contenders[name]()
                if number:
                    samples[name].append(took)
    finally:
        gc.unfreeze()
    return samples


def compare(
    area: str,
    name: str,
    samples: Samples,
    ours: str,
    peer: str,
    *,
    unit: str = "ns",
    bound: Bound | None = None,
    note: str = "",
) -> Row:
    """Return the row of two contenders; of a peer that is not there, a row without figures."""
    if peer not in samples or ours not in samples:
        return Row(area, name, peer=peer, bound=bound, note=note or f"{peer} was left out, see above")
    ratios = [our / their for our, their in zip(samples[ours], samples[peer], strict=True)]
    first, _, third = quantiles(ratios, n=4)
    return Row(
        area,
        name,
        unit,
        median(samples[ours]),
        peer,
        median(samples[peer]),
        median(ratios),
        (first, third),
        bound,
        note,
    )


def each(call: Callable[[Any], Any], arguments: Iterable[Any], timer: Timer = CPU, passes: int = 1) -> float:
    """Return the nanoseconds that one call took, the `for` loop around it included on both sides."""
    arguments = list(arguments)
    start = timer()
    for _ in range(passes):
        for argument in arguments:
            call(argument)
    return (timer() - start) / (len(arguments) * passes)


async def aeach(call: Callable[[Any], Any], arguments: Iterable[Any], timer: Timer = CPU, passes: int = 1) -> float:
    """`each` for what must be awaited."""
    arguments = list(arguments)
    start = timer()
    for _ in range(passes):
        for argument in arguments:
            await call(argument)
    return (timer() - start) / (len(arguments) * passes)
