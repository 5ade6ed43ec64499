"""The runs: each operation some hundred times, on one tier after the other and on the chain; what they wrote goes."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ...backend import Backend
from ...cache import Cache
from ...chain import TierChain
from ...errors import TiercacheError
from ...packed import PackedBackend
from ...tier import Tier
from ..output import say
from .requests import counted

LIFE = 3600.0
"""Seconds after which what a bench wrote is a miss, should it not come to clean up."""


@dataclass(frozen=True, slots=True)
class Row:
    """One operation on one tier, or on the chain.

    Attributes:
        tier: whose, or `chain`.
        operation: `set`, `get` (a hit), `miss`, `set_many`, `get_many`.
        calls: that were made.
        entries: in each call.
        p50, p99, worst: seconds of a call.
        cpu: seconds of this process's processors, a call.
        per_second: entries, one caller.
        requests: to an object store, a call; None: not counted.
    """

    tier: str
    operation: str
    calls: int
    entries: int
    p50: float
    p99: float
    worst: float
    cpu: float
    per_second: float
    requests: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done.

    Attributes:
        calls: of each operation at most.
        seconds: for each operation at most.
        size: bytes of a value.
        batch: entries of a batch.
    """

    calls: int
    seconds: float
    size: int
    batch: int


def measure(cache: Cache, plan: Plan, begun: Callable[[str], object]) -> Iterator[Row]:
    """Yield the rows of the chain's tiers, each by itself, and of the chain.

    Args:
        cache: whose chain is measured, in a namespace of its own.
        plan: how much is done.
        begun: called with the name of what is measured next.
    """
    namespace = f"bench-{secrets.token_hex(6)}"
    tiers = cache.chain.tiers
    for tier in tiers:
        if tier.write == "never":
            continue
        begun(tier.label)
        alone = Tier(tier.backend, name=tier.label, timeout=tier.timeout, max_entry_bytes=tier.max_entry_bytes)
        chain = TierChain(alone, strict=True, coherent=False)
        yield from _rows(tier.label, Cache(chain, namespace=namespace, ttl=LIFE), [tier.backend], plan)
    if len(tiers) > 1 and any(tier.write != "never" for tier in tiers):
        begun("chain")
        whole = Cache(cache.chain, namespace=namespace, ttl=LIFE)
        yield from _rows("chain", whole, [tier.backend for tier in tiers if tier.write != "never"], plan)


def _rows(name: str, cache: Cache, backends: list[Backend], plan: Plan) -> Iterator[Row]:
    value = os.urandom(plan.size)  # nothing that compression makes small
    singles: list[str] = []
    batches: list[list[str]] = []

    def fresh(what: str) -> str:
        return f"{name}-{what}-{secrets.token_hex(6)}"

    def set_one(number: int) -> None:
        key = fresh("one")
        singles.append(key)
        cache.set(key, value)

    def set_batch(number: int) -> None:
        keys = [fresh("many") for _ in range(plan.batch)]
        batches.append(keys)
        cache.set_many(dict.fromkeys(keys, value))

    try:
        with counted(backends) as requests:

            def run(operation: str, call: Callable[[int], object], entries: int = 1, most: int = plan.calls) -> Row:
                return _timed(name, operation, call, entries, most, plan.seconds, lambda: requests.sent)

            yield run("set", set_one)
            cache.drain(60)
            yield run("get", lambda number: cache.get(singles[number % len(singles)]))
            yield run("miss", lambda number: cache.get(f"{name}-absent-{number}"))
            several = max(3, plan.calls // plan.batch)
            yield run("set_many", set_batch, plan.batch, several)
            cache.drain(60)
            yield run("get_many", lambda number: cache.get_many(batches[number % len(batches)]), plan.batch, several)
    finally:
        written = [*singles, *(key for keys in batches for key in keys)]
        _clean_up(backends, [f"{cache.namespace}:{key}" for key in written])


def _timed(
    tier: str,
    operation: str,
    call: Callable[[int], object],
    entries: int,
    most: int,
    seconds: float,
    sent: Callable[[], int | None],
) -> Row:
    call(0)  # connections, imports, the first page: not what is measured
    took: list[float] = []
    requests, cpu, ends = sent(), time.process_time(), time.perf_counter() + seconds
    while len(took) < most and (len(took) < 3 or time.perf_counter() < ends):
        start = time.perf_counter()
        call(len(took))
        took.append(time.perf_counter() - start)
    cpu = time.process_time() - cpu
    after, total, calls = sent(), sum(took), len(took)
    took.sort()
    return Row(
        tier=tier,
        operation=operation,
        calls=calls,
        entries=entries,
        p50=took[calls // 2],
        p99=took[min(calls - 1, calls * 99 // 100)],
        worst=took[-1],
        cpu=cpu / calls,
        per_second=entries * calls / total if total else 0.0,
        requests=None if after is None or requests is None else (after - requests) / calls,
    )


def _clean_up(backends: list[Backend], keys: list[str]) -> None:
    for backend in backends:
        try:
            with _patient(backend):
                for start in range(0, len(keys), 500):
                    backend.delete_many(keys[start : start + 500])
                if isinstance(backend, PackedBackend):
                    backend.flush()
        except TiercacheError as error:
            say(f"{backend.scheme}: what the bench wrote stays for an hour at most: {error}", style="yellow")


@contextmanager
def _patient(backend: Backend) -> Iterator[None]:
    before = backend.timeout
    backend.timeout = max(30.0, before or 0.0)
    try:
        yield
    finally:
        backend.timeout = before
