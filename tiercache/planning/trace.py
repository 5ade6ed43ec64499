"""`Trace`: the accesses of a log in compact arrays, or, of a large log, those of a sample of its keys."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from math import inf
from pathlib import Path

from ..errors import ConfigurationError
from ..slots import ENTRY_OVERHEAD
from .accesses import Access, Reading, read_log

MOST_REQUESTS = 1_000_000
"""Accesses that are kept; of a larger log, those of some of its keys."""
GET, LOOK, FILL, SET, DELETE = range(5)
"""What an access is: a read that stores what it misses; one that found nothing anywhere; the store that follows such
a read; a store that replaces; a delete."""
_OP = {"get": GET, "set": SET, "delete": DELETE}
_WHOLE = 1 << 64


class Trace:
    """The accesses, one place in each array.

    Attributes:
        times: Unix seconds, in order.
        keys: numbers from 0.
        weights: bytes that the entry takes in memory.
        stored: bytes that it takes in a remote tier.
        kinds: `GET`, `LOOK`, `FILL`, `SET` or `DELETE`.
        lives: seconds that it lives once it is stored; infinity: for ever.
        rate: the share of the log's keys that is in here.
        requests: reads in the whole log (as far as `sample` of the recorder lets it be known).
        seconds, cost: on average, of computing a value, where the log says it.
    """

    def __init__(self) -> None:
        self.times = array("d")
        self.keys = array("L")
        self.weights = array("q")
        self.stored = array("q")
        self.kinds = bytearray()
        self.lives = array("d")
        self.rate = 1.0
        self.requests = 0
        self.accesses = 0
        self.seconds: float | None = None
        self.cost: float | None = None

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def reads(self) -> int:
        """Reads in here."""
        return self.kinds.count(GET) + self.kinds.count(LOOK)

    @property
    def span(self) -> float:
        """Seconds from the first access to the last."""
        return self.times[-1] - self.times[0] if self.times else 0.0

    @property
    def is_plain(self) -> bool:
        """Whether all are reads that store what they miss, and nothing expires."""
        return not any(self.kinds) and all(life == inf for life in self.lives)

    @property
    def has_lives(self) -> bool:
        """Whether something expires."""
        return any(life != inf for life in self.lives)

    @property
    def entries(self) -> float:
        """Different keys in the whole log, about."""
        return len(set(self.keys)) / self.rate

    @property
    def footprint(self) -> float:
        """Bytes of memory that hold every entry of the whole log at once, about."""
        return sum(dict(zip(self.keys, self.weights, strict=True)).values()) / self.rate

    def only(self, chosen: Callable[[int], bool]) -> Trace:
        """Return the trace of some of the keys."""
        part = Trace()
        places = [place for place, key in enumerate(self.keys) if chosen(key)]
        for name in ("times", "keys", "weights", "stored", "lives"):
            values = getattr(self, name)
            setattr(part, name, array(values.typecode, (values[place] for place in places)))
        part.kinds = bytearray(self.kinds[place] for place in places)
        return part


class Builder:
    """Collects accesses; when they are too many it keeps those of half the keys, chosen by a hash, and so on.

    The sampling by keys is that of SHARDS (Waldspurger and others, FAST 2015): a cache of a part of the memory sees
    the same part of the keys.
    """

    def __init__(self, most: int = MOST_REQUESTS, default_ttl: float | None = None) -> None:
        self._most = most
        self._default_life = inf if default_ttl is None else default_ttl
        self._trace = Trace()
        self._numbers: dict[str, int] = {}
        self._hashes = array("Q")
        self._below = _WHOLE
        self._sums = [0.0, 0, 0.0, 0]

    def add(self, access: Access) -> None:
        """Take one access."""
        trace = self._trace
        op = _OP[access.op]
        trace.accesses += 1
        if op == GET:
            trace.requests += 1
            if access.size is None:
                op = LOOK
        if access.seconds is not None:
            self._sums[0] += access.seconds
            self._sums[1] += 1
        if access.cost is not None:
            self._sums[2] += access.cost
            self._sums[3] += 1
        number = self._number(f"{access.namespace}:{access.key}" if access.namespace else access.key)
        if number is None:
            return
        size = access.size or 0
        key_bytes = len(access.key) if access.key_bytes is None else access.key_bytes
        trace.times.append(access.time)
        trace.keys.append(number)
        trace.weights.append(size + key_bytes + ENTRY_OVERHEAD)
        trace.stored.append(size if access.stored is None else access.stored)
        trace.kinds.append(op)
        trace.lives.append(self._default_life if access.ttl is None else access.ttl)
        if len(trace) > self._most:
            self._halve()

    def finish(self, sample: float = 1.0) -> Trace:
        """Return the trace, in the order of time."""
        trace = self._trace
        if not trace.requests:
            raise ConfigurationError("the log has no read; a plan is made from what is asked for")
        _sort(trace)
        _follow(trace)
        trace.rate = self._below / _WHOLE * sample
        trace.requests = round(trace.requests / sample)
        trace.seconds = self._sums[0] / self._sums[1] if self._sums[1] else None
        trace.cost = self._sums[2] / self._sums[3] if self._sums[3] else None
        return trace

    def _number(self, key: str) -> int | None:
        number = self._numbers.get(key)
        if number is None:
            hashed = int.from_bytes(blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")
            if hashed >= self._below:
                return None
            number = self._numbers[key] = len(self._hashes)
            self._hashes.append(hashed)
        return number

    def _halve(self) -> None:
        while len(self._trace) > self._most:
            self._below //= 2
            below, hashes, old = self._below, self._hashes, self._trace
            kept = [number for number, hashed in enumerate(hashes) if hashed < below]
            part = old.only(set(kept).__contains__)
            moved = {number: place for place, number in enumerate(kept)}
            part.keys = array("L", (moved[key] for key in part.keys))
            part.requests, part.accesses = old.requests, old.accesses
            self._hashes = array("Q", (hashes[number] for number in kept))
            self._numbers = {key: moved[number] for key, number in self._numbers.items() if number in moved}
            self._trace = part
            if not len(part):
                break


def load(
    paths: Sequence[Path],
    *,
    columns: Mapping[str, str] | None = None,
    most: int = MOST_REQUESTS,
    default_ttl: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Trace, list[Reading]]:
    """Read the logs of one cache, one a process, and return their accesses together.

    Args:
        paths: the logs.
        columns: see `read_log`.
        most: accesses that are kept; more are sampled by keys.
        default_ttl: seconds that entries live of which the log does not say it; None: for ever.
        progress: called with the bytes that were read, of all.

    Raises:
        ConfigurationError: a log is empty or has no such columns, or they were sampled differently.
        OSError: one cannot be opened.
    """
    readings = [Reading() for _ in paths]
    told = [0] * len(paths)
    whole = sum(path.stat().st_size for path in paths)

    def moved(place: int) -> Callable[[int, int], None] | None:
        def one(position: int, size: int) -> None:
            told[place] = position
            if progress is not None:
                progress(sum(told), whole)

        return None if progress is None else one

    logs: list[Iterable[Access]] = [
        read_log(path, columns=columns, reading=readings[place], progress=moved(place))
        for place, path in enumerate(paths)
    ]
    builder = Builder(most, default_ttl)
    for access in logs[0] if len(logs) == 1 else heapq.merge(*logs, key=lambda access: access.time):
        builder.add(access)
    samples = {reading.sample for reading in readings}
    if len(samples) > 1:
        raise ConfigurationError("the logs hold different shares of the keys; give those of one record_sample")
    return builder.finish(samples.pop() if samples else 1.0), readings


def _sort(trace: Trace) -> None:
    """Bring accesses of several threads, which are written nearly in order, into the order of time."""
    times = trace.times
    if all(times[place] <= times[place + 1] for place in range(len(times) - 1)):
        return
    order = sorted(range(len(times)), key=times.__getitem__)
    for name in ("times", "keys", "weights", "stored", "lives"):
        values = getattr(trace, name)
        setattr(trace, name, array(values.typecode, (values[place] for place in order)))
    trace.kinds = bytearray(trace.kinds[place] for place in order)


def _follow(trace: Trace) -> None:
    """Tell the stores that follow a read without an answer from those that replace something."""
    if trace.kinds.count(GET) == len(trace.kinds):
        return
    open_reads: set[int] = set()
    for place, (key, kind) in enumerate(zip(trace.keys, trace.kinds, strict=True)):
        if kind == LOOK:
            open_reads.add(key)
        elif kind == SET and key in open_reads:
            open_reads.remove(key)
            trace.kinds[place] = FILL
