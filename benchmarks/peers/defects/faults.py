"""Stores that are silent, down, or were down while a value was changed."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable
from typing import Any

from bench import Bench, Outcome, judged, row
from library import MISS, Cache, NotOfferedError, Work

BOUND = 2.0
PATIENCE = 40.0
READS = 5
RETURN = 15.0
HEALS = 5.0


@row(
    "dead-redis",
    "A Redis that accepts connections and never answers",
    topic="dead",
    done=f"A key is read {READS} times from such a Redis, one read after another.",
    right=f"No read takes longer than {BOUND:g} s. (Whether an error comes then is the next row.)",
)
def dead_redis(bench: Bench) -> Outcome:
    start = time.monotonic()
    cache = bench.open(bench.library.redis, bench.black_hole())
    opening = time.monotonic() - start
    seconds: list[float] = []
    for _ in range(READS):
        start = time.monotonic()
        try:
            bench.start(cache.get, "key").result(PATIENCE)
        except concurrent.futures.TimeoutError:  # the row's own, or the library's
            if time.monotonic() - start > PATIENCE - 1:
                return judged(False, f"a read had not ended after {PATIENCE:g} s")
        except NotOfferedError:
            raise
        except Exception as error:
            print(f"{type(error).__name__}: {error}"[:200])
        seconds.append(time.monotonic() - start)
        if sum(seconds) > PATIENCE:
            break
    happened = f"{seconds[0]:.2f} s for the first read, {max(seconds):.2f} s at most, {seconds[-1]:.2f} s for the last"
    if opening > BOUND:
        happened += f"; {opening:.0f} s to make the object"
    return judged(max(seconds) <= BOUND, happened)


@row(
    "down-store",
    "A store that is down",
    topic="down",
    done="Redis is down (its port refuses). A key is read, and computed through the cache where it can do that.",
    right="A read is a miss, and a computation gives its value: a cache that is down costs hits, not answers.",
)
def down_store(bench: Bench) -> Outcome:
    probes = bench.options.pop("probes", ("get", "compute"))
    cache = bench.open(bench.library.redis, bench.nowhere())
    said = []
    attempts: dict[str, Callable[[], Any]] = {
        "get": lambda: bench.call(cache.get, "key"),
        "compute": lambda: bench.call(cache.compute, "key", Work(lambda: "a value")),
    }
    good = True
    for name in probes:
        try:
            got = attempts[name]()
        except NotOfferedError:
            continue
        except Exception as error:
            said.append(f"{name} raised {type(error).__name__}")
            good = False
        else:
            wanted = MISS if name == "get" else "a value"
            good &= got == wanted
            said.append(f"{name} returned {got!r}")
    return judged(good, ", ".join(said))


@row(
    "missed-set",
    "A set that one tier took and another missed",
    topic="missed",
    done="v1 is in memory and in Redis. Redis is down while v2 is set; it returns with v1. The memory tier is lost; "
    "the key is read.",
    right="Not v1: the caller of set was told that it failed, or the tier that missed it is not believed.",
)
def missed_set(bench: Bench) -> Outcome:
    return _missed(bench, "set", _set_v2(bench))


@row(
    "missed-set-elsewhere",
    "The same, read through another cache on the same Redis",
    topic="missed",
    done="As above, but when the first cache uses Redis again the key is read through a second one, whose memory is "
    f"empty, as another process would, until it is not v1, for {HEALS:g} s.",
    right=f"Within {HEALS:g} s Redis has lost v1, or the caller of set was told that it failed.",
)
def missed_set_elsewhere(bench: Bench) -> Outcome:
    return _missed(bench, "set", _set_v2(bench), elsewhere=True)


@row(
    "missed-delete",
    "A delete that one tier took and another missed",
    topic="missed",
    done="As above, but the key is deleted while Redis is down.",
    right="A miss: the caller of delete was told that it failed, or the tier that missed it is not believed.",
)
def missed_delete(bench: Bench) -> Outcome:
    return _missed(bench, "delete", lambda cache: bench.call(cache.delete, "key"))


def _set_v2(bench: Bench) -> Callable[[Cache], Any]:
    return lambda cache: bench.call(cache.set, "key", {"it": "v2"}, 60)


def _missed(bench: Bench, name: str, change: Callable[[Cache], Any], *, elsewhere: bool = False) -> Outcome:
    wire = bench.proxy()
    cache = bench.open(bench.library.tiers, wire.url)
    bench.call(cache.set, "key", {"it": "v1"}, 60)
    if bench.call(cache.get, "key") != {"it": "v1"}:
        return judged(False, "v1 was not stored")
    wire.cut()
    try:
        change(cache)
    except NotOfferedError:
        raise
    except Exception as error:
        return judged(True, f"{name} raised {type(error).__name__}: its caller knows")
    wire.mend()
    _wait_until_it_is_back(bench, cache)
    bench.call(cache.lose_memory)
    if elsewhere:
        other = bench.open(bench.library.tiers, wire.url)
        _wait_until_it_is_back(bench, other)  # its misses are misses, not failures
        return _healing(bench, other)
    seen = [bench.call(cache.get, "key") for _ in range(3)]
    return judged({"it": "v1"} not in seen, f"{name} returned; afterwards the read gave {_first(seen)}")


def _healing(bench: Bench, other: Cache) -> Outcome:
    start, late = time.monotonic(), 0.0
    while late < HEALS and bench.call(other.get, "key") == {"it": "v1"}:
        bench.call(other.lose_memory)
        time.sleep(0.1)
        late = time.monotonic() - start
    return judged(late < HEALS, f"set returned; v1 was read for {late:.1f} s" + " and longer" * (late >= HEALS))


def _wait_until_it_is_back(bench: Bench, cache: Cache) -> None:
    """Wait until the cache uses Redis again (breakers, reconnects): a value that memory lost is found there."""
    give_up = time.monotonic() + RETURN
    while time.monotonic() < give_up:
        probe = f"probe {time.monotonic()}"
        bench.call(cache.set, probe, {"it": "there"}, 60)
        bench.call(cache.lose_memory)
        if bench.call(cache.get, probe) == {"it": "there"}:
            return
        time.sleep(0.3)
    raise LookupError(f"it did not use Redis again within {RETURN:g} s")


def _first(seen: list[Any]) -> str:
    return "a miss" if seen[0] is MISS else str(seen[0]["it"])
