"""Stored bytes that somebody or something changed: cut off, flipped, replaced, or a pickle with a will of its own."""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
from typing import Any

from bench import Bench, Outcome, judged, row
from library import MISS

VALUE = {"answer": "The capital of France is Paris.", "scores": [0.25, 0.5, 0.75], "tokens": 1234567}
FLIPS = 300
MEMORY = 4 << 30


@row(
    "corrupt-entry",
    "A stored entry that was damaged",
    topic="stored",
    done=f"The stored bytes of a value are cut off at ten places, emptied, and changed by one bit at {FLIPS} places; "
    "it is read each time.",
    right="A miss. (Never another value, and no exception to the caller.)",
)
def corrupt_entry(bench: Bench) -> Outcome:
    _limit_memory()
    cache, raw = _shelf(bench)
    bench.call(cache.set, "key", VALUE, 600)
    if bench.call(cache.get, "key") != VALUE:
        return judged(False, "it did not give the value back to begin with")
    good = raw.read()
    ends: collections.Counter[str] = collections.Counter()
    example = ""
    for bad in _damaged(good):
        raw.write(bad)
        try:
            value = bench.call(cache.get, "key")
        except Exception as error:
            ends["exceptions"] += 1
            example = example or type(error).__name__
        else:
            ends["misses" if value is MISS else "right values" if value == VALUE else "wrong values"] += 1
    happened = ", ".join(f"{count} {what}" for what, count in sorted(ends.items())) + f" ({example})" * bool(example)
    return judged(not ends["exceptions"] and not ends["wrong values"], f"of {sum(ends.values())}: {happened}")


def _limit_memory() -> None:
    """A damaged length must not take the machine with it."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _damaged(good: bytes) -> list[bytes]:
    cuts = [good[: len(good) * part // 10] for part in range(10)]
    places = range(0, len(good) * 8, max(1, len(good) * 8 // FLIPS))
    return cuts + [_flipped(good, place) for place in places]


def _flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


class _Payload:
    """When it is unpickled a directory is made: code of whoever wrote the bytes has run."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


@row(
    "pickle-runs",
    "A pickle in the store runs code when it is read",
    topic="pickle",
    done="The stored bytes are replaced by a pickle that makes a directory when it is loaded, framed as the library "
    "frames its values; the key is read.",
    right="The directory is not there: who can write to the store cannot run code in those who read it.",
)
def pickle_runs(bench: Bench) -> Outcome:
    cache, raw = _shelf(bench)
    bench.call(cache.set, "key", VALUE, 600)
    raw.read()
    mark = bench.directory / "it ran"
    raw.write(bench.library.pickle_frame(pickle.dumps(_Payload(str(mark)))))
    try:
        said = "a miss" if bench.call(cache.get, "key") is MISS else "a value"
    except Exception as error:
        said = type(error).__name__
    return judged(not mark.exists(), f"the code {'ran' if mark.exists() else 'did not run'}; the read gave {said}")


def _shelf(bench: Bench) -> tuple[Any, Any]:
    pair: list[Any] = []

    def opener(**options: Any) -> Any:
        cache, raw = bench.library.shelf(bench, **options)
        pair.append(raw)
        return cache

    return bench.open(opener), pair[0]
