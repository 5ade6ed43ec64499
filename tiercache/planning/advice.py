"""What to choose, as sentences with their figures: policy and size of memory, Redis, class and layout, TTL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..eviction import EvictionPolicy
from ..pricing import GB, dollars
from ..units import shown_bytes
from .costs import PACKED, ClassCost
from .lifetimes import Lifetimes
from .simulation import Curve
from .traffic import REDIS, STORE, Traffic

WORTH = 0.005
"""Hit ratio by which a policy must be better, on average, to be preferred to a plainer one."""
ALL = 0.99
"""The share of the hits of the largest memory with which a memory is large enough."""
CHEAP = 1.0
"""US dollars a month below which memory is not worth saving."""
PREFERRED = (
    EvictionPolicy.LRU,
    EvictionPolicy.SIEVE,
    EvictionPolicy.S3FIFO,
    EvictionPolicy.FIFO,
    EvictionPolicy.TTL,
    EvictionPolicy.LFU,  # it never forgets: what was popular stays, and a log rarely is long enough to show it
)
"""Which policy is taken of those that do about as well."""


@dataclass(frozen=True, slots=True)
class Size:
    """The memory that is recommended.

    Attributes:
        policy: what leaves it first.
        bytes: its size.
        hit_ratio: with this policy and size.
        lru: that of `lru` at this size.
        usd: what it costs a month, in all processes.
        next_gain: hit ratio that the next size would bring on top.
    """

    policy: EvictionPolicy
    bytes: int
    hit_ratio: float
    lru: float
    usd: float
    next_gain: float


def best_policy(curves: Sequence[Curve], place: int | None = None) -> Curve:
    """Return the curve with the highest hit ratio; of those about as high, that of the plainer policy.

    Args:
        curves: to choose from.
        place: the number of the size that counts; None: all do.
    """

    def height(curve: Curve) -> float:
        return _mean(curve) if place is None else curve.hit_ratio[place]

    best = max(map(height, curves))
    near = [curve for curve in curves if height(curve) >= best - WORTH]
    return min(near, key=lambda curve: PREFERRED.index(curve.policy))


def best_size(curves: Sequence[Curve], *, memory_price: float, processes: int, least: int = 0) -> Size:
    """Return the knee of the best policy's curve against the price, or more where more costs next to nothing.

    The knee is where the curve stands highest above the straight line between its ends, over the bytes, which are
    what is paid for. (Kneedle: Satopää and others, 2011.) Nothing below `least` bytes is recommended.
    """
    curve = best_policy(curves)
    lru = next((one for one in curves if one.policy is EvictionPolicy.LRU), curve)
    usd = [size / GB * memory_price * processes for size in curve.sizes]
    enough = next(place for place, ratio in enumerate(curve.hit_ratio) if ratio >= ALL * max(curve.hit_ratio))
    cheap = sum(price <= CHEAP for price in usd) - 1
    sensible = next((place for place, size in enumerate(curve.sizes) if size >= least), len(curve.sizes) - 1)
    place = max(sensible, min(enough, max(_knee(curve), cheap)))
    curve = best_policy(curves, place)
    more = curve.hit_ratio[place + 1] - curve.hit_ratio[place] if place + 1 < len(curve.sizes) else 0.0
    return Size(curve.policy, curve.sizes[place], curve.hit_ratio[place], lru.hit_ratio[place], usd[place], more)


def memory_sentence(size: Size, curves: Sequence[Curve], price: float) -> str:
    """Return what memory to choose."""
    top = max(max(curve.hit_ratio) for curve in curves)
    better = (size.hit_ratio - size.lru) * 100
    other = f", {better:.1f} points more than lru" if size.policy is not EvictionPolicy.LRU else ""
    first = (
        f"Memory: {shown_bytes(size.bytes)} with eviction={size.policy.value!r} answers {size.hit_ratio:.1%} of the "
        f"reads{other}, for {dollars(size.usd)} a month of RAM (at {dollars(price)} a GiB and process)."
    )
    if size.hit_ratio < 0.02:
        return f"{first} Hardly anything is asked for twice while it could be in memory: a small memory does."
    if size.hit_ratio >= ALL * top:
        return f"{first} More memory brings nothing: no memory answers more than {top:.1%}."
    return (
        f"{first} The next larger one that was tried would bring {size.next_gain * 100:.1f} points more; no memory "
        f"answers more than {top:.1%}."
    )


def redis_sentence(with_redis: Traffic, without: Traffic, redis_bytes: int, usd: float, saved: float) -> str:
    """Return what a Redis between memory and store would do."""
    flow = with_redis.of(REDIS)
    share = flow.hits / flow.reads if flow.reads else 0.0
    if share < WORTH:
        return (
            f"Redis: {shown_bytes(redis_bytes)} would answer {share:.1%} of what memory misses: nothing is asked for "
            "twice that memory does not hold. It is worth having for several processes, or across restarts."
        )
    verdict = "it pays for itself" if saved > usd else "it must be worth that as speed, or to share among processes"
    return (
        f"Redis: {shown_bytes(redis_bytes)} would answer {share:.1%} of what memory misses, so that "
        f"{with_redis.of(STORE).reads:,.0f} reads a month reach the store in place of {without.of(STORE).reads:,.0f}; "
        f"it costs {dollars(usd)} and saves {dollars(saved)} of the store's requests: {verdict}."
    )


def class_sentence(costs: Sequence[ClassCost], store: str) -> str:
    """Return which class and layout to choose."""
    best = chosen(costs)
    plain = next(cost for cost in costs if cost.layout != best.layout and cost.storage_class == best.storage_class)
    dearest = max((cost for cost in costs if cost.choosable), key=lambda cost: cost.total)
    about = "about " if best.is_estimate else ""
    how = f"{store}+packed://" if best.layout == PACKED else f"{store}://"
    return (
        f"Store: {best.storage_class}, {best.layout} ({how}), costs {about}{dollars(best.total)} a month: storage "
        f"{dollars(best.storage)}, requests {dollars(best.requests)}, retrieval and uploads {dollars(best.other)}. "
        f"{plain.layout.capitalize()} in the same class would cost {dollars(plain.total)}; the dearest choice, "
        f"{dearest.storage_class} {dearest.layout}, {dollars(dearest.total)}."
    )


def ttl_sentence(found: Lifetimes, span: float) -> str:
    """Return which TTL to choose."""
    if not found.without:
        return "TTL: nothing was asked for twice in this log, so it tells nothing about lives."
    half, most, nearly_all = (shown_seconds(gap) for gap in found.repeats)
    gaps = (
        f"half of the repeated reads come within {half} of the one before, 90 % within {most}, 99 % within {nearly_all}"
    )
    if found.chosen is None:
        return (
            f"TTL: {gaps}. No TTL up to half of the log ({shown_seconds(span / 2)}) keeps 99 % of the hits: leave the "
            "TTL to how long values stay true, or plan with a longer log."
        )
    one = found.chosen
    return (
        f"TTL: {gaps}. With ttl={shown_seconds(one.ttl)!r} {one.kept:.1%} of the hits remain and {one.entries:,.0f} "
        "entries are kept on average; a longer one costs storage for nothing, unless values are asked for again after "
        "the log ends."
    )


def computed_sentence(traffic: Traffic, seconds: float | None, cost: float | None, *, pace: str = "") -> str:
    """Return what is computed, and what that costs where it is known; `pace` says from how little a month was made."""
    text = f"Computing: {traffic.computed:,.0f} values a month{pace} are in no tier"
    price = f"; at {dollars(cost)} each they cost {dollars(traffic.computed * cost)}" if cost else ""
    time = f", and take {shown_seconds(traffic.computed * seconds)} in all" if seconds else ""
    return f"{text}{price}{time}."


def chosen(costs: Sequence[ClassCost]) -> ClassCost:
    """Return the cheapest class and layout that has no catch."""
    return min((cost for cost in costs if cost.choosable), key=lambda cost: cost.total)


def shown_seconds(seconds: float) -> str:
    """Return a duration for people, in a form that options take: `90s`, `12h`, `30d`."""
    for unit, name in ((86_400.0, "d"), (3600.0, "h"), (60.0, "m")):
        if seconds >= unit:
            return f"{seconds / unit:.1f}".removesuffix(".0") + name
    return f"{seconds:.3g}s"


def _mean(curve: Curve) -> float:
    return sum(curve.hit_ratio) / len(curve.hit_ratio)


def _knee(curve: Curve) -> int:
    """Return the place of the knee."""
    top, last = max(curve.hit_ratio), curve.sizes[-1]
    if top < WORTH:
        return 0
    above = [ratio / top - size / last for size, ratio in zip(curve.sizes, curve.hit_ratio, strict=True)]
    return max(range(len(above)), key=above.__getitem__)
