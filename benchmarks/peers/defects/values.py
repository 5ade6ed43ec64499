"""What was put in comes out: None, values that look like something else, values that a caller changes."""

from __future__ import annotations

from typing import Any

from bench import Bench, Outcome, judged, row
from library import MISS, NotOfferedError, Work, packed

from .concurrency import computing

CALLS = 5
LOOKALIKES: list[Any] = [
    '{"looks": "like JSON"}',
    "123",
    "true",
    {"__compressed_data__": packed({"it": "came back as something else"})},
    {"timestamp": 0.0, "response": "{}"},
    {"value": {"value": 1}},
]


@row(
    "cached-none",
    "A computed None is cached",
    topic="compute",
    done=f"A computation that returns None is asked for {CALLS} times, one after another.",
    right="One computation: None is a value.",
)
def cached_none(bench: Bench) -> Outcome:
    if bench.library.own_requests_only:
        raise NotOfferedError("its values are responses, never None")
    cache = computing(bench)
    work = Work(lambda: None)
    answers = [bench.call(cache.compute, "key", work) for _ in range(CALLS)]
    return judged(
        work.calls == 1 and answers == [None] * CALLS,
        f"{CALLS} calls, {work.calls} computation" + "s" * (work.calls > 1),
    )


@row(
    "lookalike",
    "Values that look like something else",
    topic="markers",
    done=f"{len(LOOKALIKES)} values are stored and read: texts that look like JSON, a number or a truth, and dicts "
    "with the names that libraries use for their own marks.",
    right="Each comes back equal and of the same type, or is refused when it is stored.",
)
def lookalike(bench: Bench) -> Outcome:
    cache = bench.open(bench.library.memory)
    changed, refused = [], 0
    values = LOOKALIKES + [value for value in bench.library.markers if value not in LOOKALIKES]
    for number, value in enumerate(values):
        key = f"key {number}"
        try:
            bench.call(cache.set, key, value, 60)
        except (TypeError, ValueError):
            refused += 1
            continue
        back = bench.call(cache.get, key)
        if back != value or type(back) is not type(value):
            changed.append(f"{_short(value)} came back as {_short(back)}")
    happened = "; ".join(changed) or f"{len(values)} values came back as they were"
    return judged(not changed, happened + f"; {refused} refused" * (refused > 0))


@row(
    "mutated-value",
    "A caller changes the value that it got",
    topic="memory",
    done="A dict with a list in it is stored; one caller reads it and appends to the list; another reads it. And the "
    "caller that stored it changes its own copy afterwards.",
    right="The second caller sees what was stored.",
)
def mutated_value(bench: Bench) -> Outcome:
    cache = bench.open(bench.library.memory)
    stored = {"items": [1, 2]}
    bench.call(cache.set, "key", stored, 60)
    bench.call(cache.get, "key")["items"].append("a reader's")
    stored["items"].append("the writer's")
    seen = bench.call(cache.get, "key")
    strange = [item for item in seen["items"] if isinstance(item, str)]
    return judged(not strange and seen is not MISS, f"the second caller saw {' and '.join(strange) or 'no'} changes")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
