"""Times to live: kept, given anew by a later set, handed on to copies; and what becomes of what has expired."""

from __future__ import annotations

import time

from bench import Bench, Outcome, judged, row
from library import MISS, NotOfferedError

MANY = 1000
COPY_TTL = 2.0
GRACE = 0.5
LONG = 5.0


@row(
    "ttl-kept",
    "A value is read after its time to live",
    topic="memory",
    done="A value is stored with a short time to live in memory (or on disk), and in Redis, and read when it is over.",
    right="A miss.",
)
def ttl_kept(bench: Bench) -> Outcome:
    ttl, served = bench.library.least_ttl, []
    places = {bench.library.fast: lambda: bench.open(bench.library.memory)}
    if bench.options == {} or "face" in bench.options:
        places["Redis"] = lambda: bench.open(bench.library.redis, bench.redis_url())
    asked = []
    for place, opener in places.items():
        try:
            cache = opener()
        except NotOfferedError:
            continue
        bench.call(cache.set, "key", {"a": "value"}, ttl)
        if bench.call(cache.get, "key") is MISS:
            return judged(False, f"nothing was stored in {place}")
        time.sleep(ttl * 1.5 + 0.1)
        asked.append(place)
        if bench.call(cache.get, "key") is not MISS:
            served.append(place)
    return judged(
        not served, f"served after its time from {', '.join(served)}" if served else f"a miss ({', '.join(asked)})"
    )


@row(
    "ttl-of-second-set",
    "A key is set again with a shorter time to live",
    topic="memory",
    done="v1 is stored for 60 s, then v2 under the same key for a moment; the key is read when v2's time is over.",
    right="A miss: v2 lived as long as was said.",
)
def ttl_of_second_set(bench: Bench) -> Outcome:
    if bench.library.ttl_is_the_regions:
        raise NotOfferedError("a time to live belongs to the region, not to an entry")
    cache = bench.open(bench.library.memory)
    ttl = bench.library.least_ttl
    bench.call(cache.set, "key", {"it": "v1"}, 60.0)
    bench.call(cache.set, "key", {"it": "v2"}, ttl)
    time.sleep(ttl * 1.5 + 0.1)
    found = bench.call(cache.get, "key")
    return judged(found is MISS, f"{found!r} after its time to live")


@row(
    "expired-stay",
    f"{MANY:,} entries expire and are never asked for again",
    topic="memory",
    done=f"{MANY:,} entries are stored for a moment. When they have expired, another key is written 200 times and read "
    "2,000 times over two seconds; then the entries that are held are counted.",
    right="Few are left: memory that nobody can use is given back.",
)
def expired_stay(bench: Bench) -> Outcome:
    cache = bench.open(bench.library.memory)
    ttl = bench.library.least_ttl
    for number in range(MANY):
        bench.call(cache.set, f"key {number}", {"a": "value"}, ttl)
    time.sleep(ttl + 0.2)
    for _ in range(20):
        for number in range(10):
            bench.call(cache.set, f"other {number}", {"a": "value"}, 60.0)
        for number in range(100):
            bench.call(cache.get, f"other {number % 10}")
        time.sleep(0.1)
    left = max(0, cache.held() - 10)
    return judged(left <= MANY // 10, f"{left:,} of {MANY:,} expired entries are still held")


@row(
    "promoted-expiry",
    "A copy in the fast tier outlives its original",
    topic="tiers",
    done=f"A value is stored for {COPY_TTL:g} s; the memory tier is lost; a read copies it up from Redis; it is read "
    f"again {GRACE:g} s after its time is over, for {LONG:g} s.",
    right="A miss: a copy lives no longer than what is left.",
)
def promoted_expiry(bench: Bench) -> Outcome:
    cache = bench.open(bench.library.tiers, bench.redis_url())
    start = time.monotonic()
    bench.call(cache.set, "key", {"a": "value"}, COPY_TTL)
    bench.call(cache.lose_memory)
    if bench.call(cache.get, "key") is MISS:
        return judged(False, "a miss within its time to live")
    late = 0.0
    time.sleep(max(0.0, start + COPY_TTL + GRACE - time.monotonic()))
    while late < LONG and bench.call(cache.get, "key") is not MISS:
        late = time.monotonic() - start - COPY_TTL
        time.sleep(0.2)
    happened = f"still served {late:.1f} s after its time" if late else f"a miss {GRACE:g} s after its time"
    return judged(not late, happened)
