"""20,000 pairs of requests that differ by little have two keys each; 20,000 that differ in order alone have one."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.llm.golden_requests import cases
from tests.properties.scale import SCALE
from tiercache.llm.fields import DENIED
from tiercache.llm.keys import request_key
from tiercache.llm.kinds import KINDS, Kind

PAIRS = 20_000 * SCALE
Place = tuple[Any, Any]
"""A container and the key or index of something in it."""

# Fields that do not count, with values, that may be added to a request of the kind.
UNCOUNTED: dict[Kind, list[tuple[str, Any]]] = {
    kind: [(path, value) for path in DENIED[kind] if "[]" not in path for value in ("x", None, {"a": [1]}, True)]
    for kind in KINDS
}
BASES: list[tuple[Kind, Any]] = [
    (case["kind"], case["request"]) for case in cases() if len(str(case["request"])) < 3000
]


def generated(rng: random.Random) -> tuple[Kind, Any]:
    """A realistic request with a field of no known meaning, holding anything."""
    kind, request = rng.choice(BASES)
    return kind, {**copy.deepcopy(request), "x": [_anything(rng, 0), {"y": _anything(rng, 0)}]}


def _anything(rng: random.Random, depth: int) -> Any:
    kind = rng.randrange(9 if depth < 3 else 7)
    if kind == 7:
        return [_anything(rng, depth + 1) for _ in range(rng.randrange(1, 4))]
    if kind == 8:
        return {rng.choice(["a", "b", "user", "é", "\ud800", ""]): _anything(rng, depth + 1) for _ in range(3)}
    atoms: list[Any] = [
        None,
        rng.random() < 0.5,
        rng.choice([0, 1, -1, 2**63, 2**64, -(2**70), rng.randrange(100)]),
        rng.choice([0.0, -0.0, 1.0, 1e300, 0.1, rng.random()]),
        rng.choice(["", "1", "a", "ab", "é", "e\u0301", "\ud83d", "🧊", "true", "null"]),
        rng.choice([b"", b"a", b"1"]),
        "".join(rng.choices("ab[]{},:\"'", k=rng.randrange(6))),
    ]
    return atoms[kind]


def places(value: Any, path: tuple[str, ...] = ()) -> Iterator[Place]:
    """Everything within a request that counts: not what is denied, nor the marks of where a prompt may be cached."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        here = (*path, key if isinstance(value, dict) else "[]")
        if _counts(here):
            yield value, key
            yield from places(item, here)


def _counts(path: tuple[str, ...]) -> bool:
    denied = {denied.split(".")[0] for paths in DENIED.values() for denied in paths if "." not in denied}
    return path[0] not in denied | {"stream_options"} and not (path[-1] == "cache_control" and path[0] != "x")


def another_type(value: Any, rng: random.Random) -> Any:
    """A value that reads like the given one, and is another."""
    if isinstance(value, bool):
        return rng.choice([int(value), str(value).lower(), not value, None])
    if isinstance(value, int):
        return rng.choice([float(value), str(value), value + 1, -value or 1.5, bool(value)])
    if isinstance(value, float):
        return rng.choice([str(value), -value, repr(value).encode()] + ([int(value)] if value == value // 1 else []))
    if isinstance(value, str):
        changed = [value + " ", value + "\0", value.swapcase() + "\u0301", value.encode(errors="replace"), [value]]
        return rng.choice(changed)
    if isinstance(value, bytes):
        return rng.choice([value.decode("latin-1"), value + b"\0", list(value)])
    if value is None:
        return rng.choice([False, 0, "", "null", [], {}])
    return rng.choice([[value], {"": value}, None, str(value)])


def moved_boundary(container: list[Any] | dict[Any, Any], key: Any, rng: random.Random) -> bool:
    """Move the end of a text to the beginning of the next one, or of its own name to its value."""
    value = container[key]
    if not isinstance(value, str) or not value:
        return False
    cut = rng.randrange(len(value))
    if isinstance(container, list):
        container[key : key + 1] = [value[:cut], value[cut:]]
    else:
        del container[key]
        container[key + value[:cut] + "\0"] = value[cut:]
    return True


def differing(rng: random.Random, request: Any) -> Any:
    """A copy that differs from a request by one small thing that counts."""
    changed = copy.deepcopy(request)
    container, key = rng.choice(list(places(changed)))
    way = rng.randrange(5)
    if way == 0 and moved_boundary(container, key, rng):
        return changed
    if way == 1:
        changed[f"new_field_{rng.randrange(1000)}"] = rng.choice([None, False, 0, "", [], {}])
    elif way == 2 and isinstance(container, dict):
        container[f"{key}_"] = container.pop(key)
    elif way == 3 and isinstance(container, list):
        container.insert(key, copy.deepcopy(container[key]))
    else:
        container[key] = another_type(container[key], rng)
    return changed


def reordered(value: Any, rng: random.Random) -> Any:
    if isinstance(value, dict):
        items = list(value.items())
        rng.shuffle(items)
        return {key: reordered(item, rng) for key, item in items}
    return [reordered(item, rng) for item in value] if isinstance(value, list) else value


def with_uncounted(kind: Kind, request: Any, rng: random.Random) -> Any:
    changed = copy.deepcopy(request)
    for path, value in rng.sample(UNCOUNTED[kind], k=min(3, len(UNCOUNTED[kind]))):
        *parents, name = path.split(".")
        node = changed
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = value
    return changed


def pairs(seed: str, change: Callable[[random.Random, Kind, Any], Any]) -> Iterator[tuple[Any, str, str]]:
    rng = random.Random(seed)
    for _ in range(PAIRS // 10):
        kind, request = generated(rng)
        key = request_key(kind, request)
        for _ in range(10):
            changed = change(rng, kind, request)
            yield changed, key, request_key(kind, changed)


@pytest.mark.timeout(300 * SCALE)
def test_requests_that_differ_never_share_a_key():
    known: set[str] = set()
    for _, key, other in pairs("differing", lambda rng, _, request: differing(rng, request)):
        assert key != other
        known.update((key, other))
    assert len(known) > PAIRS * 0.9


@pytest.mark.timeout(300 * SCALE)
def test_equal_requests_in_another_order_share_their_key():
    for _, key, other in pairs("reordered", lambda rng, _, request: reordered(request, rng)):
        assert key == other


@pytest.mark.timeout(300 * SCALE)
def test_fields_that_do_not_count_never_change_the_key():
    for _, key, other in pairs("uncounted", lambda rng, kind, request: with_uncounted(kind, request, rng)):
        assert key == other
