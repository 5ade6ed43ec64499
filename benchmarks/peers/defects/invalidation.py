"""What was deleted, invalidated or replaced while a value was on its way does not come back."""

from __future__ import annotations

from collections.abc import Callable

from bench import Bench, Outcome, judged, row
from library import MISS, Cache, NotOfferedError, Work

from .concurrency import computing

TRIALS = 5


@row(
    "delete-during-load",
    "A key is deleted while its value is computed",
    topic="compute",
    done="A computation reads the source; the source changes and the key is deleted; the computation ends. Then "
    f"the key is asked for. {TRIALS} trials.",
    right="The next caller gets the new value: what began before the delete is not served after it.",
)
def delete_during_load(bench: Bench) -> Outcome:
    cache = computing(bench)
    return _during_load(
        bench, cache, cache.compute, lambda key: bench.call(cache.delete, key), getattr(cache, "learn", None)
    )


@row(
    "tag-during-load",
    "A tag is invalidated while a value that has it is computed",
    topic="compute",
    done="As above, but the entry's tag is invalidated in place of a delete.",
    right="The next caller gets the new value.",
)
def tag_during_load(bench: Bench) -> Outcome:
    cache = computing(bench)

    def compute(key: str, work: Work) -> object:
        return cache.compute_tagged(key, work, "a tag")

    async def acompute(key: str, work: Work) -> object:
        return await cache.compute_tagged(key, work, "a tag")

    import inspect

    awaited = inspect.iscoroutinefunction(cache.compute_tagged)
    return _during_load(
        bench, cache, acompute if awaited else compute, lambda key: bench.call(cache.invalidate_tag, "a tag"), None
    )


@row(
    "clear-during-load",
    "Everything is invalidated while a value is computed",
    topic="compute",
    done="As above, but the whole cache (region) is cleared in place of a delete.",
    right="The next caller gets the new value.",
)
def clear_during_load(bench: Bench) -> Outcome:
    cache = computing(bench)
    return _during_load(bench, cache, cache.compute, lambda key: bench.call(cache.clear), None)


def _during_load(
    bench: Bench,
    cache: Cache,
    compute: Callable[[str, Work], object],
    invalidate: Callable[[str], None],
    learn: Callable[[str], object] | None,
) -> Outcome:
    old = 0
    for trial in range(TRIALS):
        key, source = f"key {trial}", {"value": "old"}
        if learn is not None:
            bench.call(learn, key)
        work = Work(lambda source=source: source["value"], held=True)
        load = bench.start(compute, key, work)
        while not work.begun.wait(0.05):
            if load.done():
                load.result()  # raises what kept it from computing
        source["value"] = "new"
        try:
            invalidate(key)
        finally:
            work.gate.set()
        load.result(20)
        old += bench.call(compute, key, work) != "new"
    return judged(old == 0, f"the old value was served afterwards in {old} of {TRIALS}")


@row(
    "get-racing-set",
    "A read of the slow tier overlaps a set",
    topic="tiers",
    done="Redis holds v1, memory nothing. A get is sent, and its answer is kept on the wire; v2 is set; the answer "
    f"arrives. Then the key is read again. {TRIALS} trials.",
    right="The later read gives v2: the late answer is not copied over it.",
)
def get_racing_set(bench: Bench) -> Outcome:
    wire = bench.proxy()
    cache = bench.open(bench.library.tiers, wire.url, timeout=10.0)
    seen = []
    for trial in range(TRIALS):
        key = f"key {trial}"
        bench.call(cache.set, key, {"it": "v1"}, 60)
        bench.call(cache.lose_memory)
        wire.hold_next_get()
        reading = bench.start(cache.get, key)
        if not wire.held.wait(5):
            raise NotOfferedError("its read asks Redis in another way than by GET")
        bench.call(cache.set, key, {"it": "v2"}, 60)
        wire.go_on()
        reading.result(20)
        seen.append(bench.call(cache.get, key))
    old = sum(value == {"it": "v1"} for value in seen)
    lost = sum(value is MISS for value in seen)
    return judged(
        old == 0, f"v1 was served after v2 had been set in {old} of {TRIALS}" + f"; {lost} misses" * (lost > 0)
    )
