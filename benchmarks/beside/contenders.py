"""What takes part: how it is opened and called, and what it does less than tiercache."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from .measured import OURS, Call


@dataclass(slots=True)
class Place:
    """Where contenders live: the loop of the awaited ones, what to close at the end, and where their store is."""

    runner: asyncio.Runner
    stack: ExitStack
    url: str = ""
    server: Any = None
    directory: str = ""
    room: int = 20_000
    """Entries that a memory cache must have room for."""

    def aclose(self, close: Callable[[], Any]) -> None:
        """Await `close` at the end, on the loop."""
        self.stack.callback(lambda: self.runner.run(close()))


@dataclass(slots=True)
class Calls:
    """How one is called; None: it has no such call.

    `get(key)`, `set(key, value)`, `get_many(keys)`, `set_many({key: vector})` and their awaited twins; `locked` is
    `get` for many threads, where `get` alone is not safe. `get_many` returns what `first_vector` understands.
    """

    get: Call | None = None
    set: Call | None = None
    get_many: Call | None = None
    set_many: Call | None = None
    aget: Call | None = None
    aset: Call | None = None
    aget_many: Call | None = None
    aset_many: Call | None = None
    locked: Call | None = None
    encode: Callable[[Any], Any] = field(default=lambda value: value)
    """What its user makes of a value before it can be stored, not timed."""


@dataclass(frozen=True, slots=True, eq=False)  # by identity: `less` has no hash
class Contender:
    """A cache that takes part.

    Attributes:
        name: as the table says it.
        make: opens it, and registers what closes it.
        less: what it does less than tiercache, by job; `""` is for the jobs that are not named.
    """

    name: str
    make: Callable[[Place], Calls]
    less: Mapping[str, str] = field(default_factory=dict)

    def explanation(self, job: str) -> str:
        """Return what it does less at this job."""
        return self.less.get(job, self.less.get("", ""))


def opened(contenders: Iterable[Contender], place: Place) -> dict[Contender, Calls]:
    """Open those that are there; one that is not is left out and named, unless it is ours."""
    found: dict[Contender, Calls] = {}
    for contender in contenders:
        try:
            found[contender] = contender.make(place)
        except Exception as error:
            if contender.name == OURS:
                raise
            left_out(contender.name, error)
    return found


def left_out(name: str, error: Exception | str) -> None:
    """Say that a peer does not take part, and why."""
    reason = error if isinstance(error, str) else f"{type(error).__name__}: {error}".splitlines()[0]
    print(f"{time.strftime('%H:%M:%S')} {name} is left out: {reason}", flush=True)


def first_vector(found: Any, keys: Sequence[str]) -> Any:
    """Return the first vector of what a batch gave, whatever its shape."""
    if isinstance(found, Mapping):
        found = [found[key] for key in keys]
    return next(iter(found))


def expect(truth: Any, what: str) -> None:
    """Raise LookupError unless it is so: one that does not do the job is not timed at it."""
    if not truth:
        raise LookupError(what)
