"""Memory caches as they grow from a thousand entries to a million: what a hit takes, and what an entry takes.

Each contender lives in a process of its own (`python -m beside.growth NAME`), which is told on its standard input to
fill up or to time hits, and answers on its standard output. All are grown to a size before any is timed at it, and
they are timed in turn.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from harness import Row, Scale, no_gc

from tiercache import Cache, MemoryBackend

from .contenders import Calls, Contender, Place, left_out
from .measured import OURS, Pair, Took, awaited, blocking
from .on_memory import CONTENDERS, calls_of

SIZES = (1_000, 10_000, 100_000, 1_000_000)
PAYLOAD_BYTES = 64
ASKED = 8_000
_STATM = Path("/proc/self/statm")
_MEMINFO = Path("/proc/meminfo")
_NEEDED_GB = 8
"""What a dozen processes of a million entries each take."""


class Grown:
    """One contender in its process."""

    def __init__(self, contender: Contender) -> None:
        self.contender = contender
        self.name = contender.name
        command = [sys.executable, "-m", "beside.growth", self.name]
        self._process = subprocess.Popen(
            command, cwd=Path(__file__).parent.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.face: str = self.answer()

    def tell(self, what: str, number: int) -> None:
        """Have it fill up, or time hits."""
        print(what, number, file=self._process.stdin, flush=True)

    def close(self) -> None:
        """End its process."""
        self._process.kill()
        self._process.communicate()

    def answer(self) -> Any:
        """Wait for what came of it."""
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise RuntimeError("its process ended")
        return json.loads(line)


def rows(scale: Scale) -> Iterator[Row]:
    """Measure."""
    if not _STATM.exists():
        yield Row("beside", "growth", note="resident memory is read from /proc, which is not here")
        return
    sizes = SIZES[:2] if scale.quick else SIZES if _free_gb() >= _NEEDED_GB else SIZES[:3]
    grown: list[Grown] = []
    try:
        for contender in [*CONTENDERS, Contender("dict", _dict)]:
            try:
                grown.append(Grown(contender))
            except Exception as error:
                left_out(f"growth: {contender.name}", error)
        for size in sizes:
            yield from _at(size, grown, scale)
    finally:
        for one in grown:
            one.close()


def _at(size: int, grown: list[Grown], scale: Scale) -> Iterator[Row]:
    for one in grown:  # all at once: a million entries take the slowest ones half a minute
        one.tell("fill", size)
    per_entry = {one.name: one.answer() for one in grown}
    samples = _timed_in_turn(grown, scale.rounds(5))
    sync, awaits = samples[OURS], samples[_AWAITED]
    peers = [one for one in grown if one.name != OURS]
    for one in peers:
        ours, theirs = sync if one.face == "sync" else awaits, samples[one.name]
        yield Pair(
            area="beside",
            name=f"memory: a hit in {size:,} entries, random order, {one.face}",
            unit="ns",
            ours=median(took.wall for took in ours),
            peer=one.name,
            theirs=median(took.wall for took in theirs),
            ratio=median(our.wall / their.wall for our, their in zip(ours, theirs, strict=True)),
            tier="growth",
            job="growth",
            face=one.face,
            callers=size,
            cpu_ours=median(took.cpu for took in ours),
            cpu_theirs=median(took.cpu for took in theirs),
            cpu_ratio=median(our.cpu / their.cpu for our, their in zip(ours, theirs, strict=True)),
            less=_LESS_HIT if one.name == "dict" else one.contender.explanation("hit of bytes"),
        )
    if size < 10_000:
        return  # too few to be seen among pages
    for one in peers:
        yield Pair(
            area="beside",
            name=f"memory: bytes an entry beyond key and payload, {size:,} entries",
            unit="bytes",
            ours=per_entry[OURS],
            peer=one.name,
            theirs=per_entry[one.name],
            ratio=per_entry[OURS] / per_entry[one.name],
            tier="growth",
            job="bytes",
            callers=size,
            less=_LESS_BYTES.get(one.name, _LESS_BYTES[""]),
        )


def _timed_in_turn(grown: list[Grown], rounds: int) -> dict[str, list[Took]]:
    """Return the samples of each; ours is timed awaited as well, in the same process."""
    turns = [(one, "atime" if one.face == "async" else "time", one.name) for one in grown]
    turns += [(one, "atime", _AWAITED) for one in grown if one.name == OURS]
    samples: dict[str, list[Took]] = {name: [] for _, _, name in turns}
    for number in range(rounds + 1):
        for one, what, name in turns[:: 1 if number % 2 else -1]:
            one.tell(what, number)
            took = Took(*one.answer())
            if number:
                samples[name].append(took)
    return samples


def _free_gb() -> float:
    for line in _MEMINFO.read_text().splitlines():
        if line.startswith("MemAvailable"):
            return int(line.split()[1]) / 1e6
    return 0.0


# In the process of one.


def _ours(place: Place) -> Calls:
    return calls_of(place.stack.enter_context(Cache(MemoryBackend(), ttl="1h")))


def _dict(place: Place) -> Calls:
    table: dict[str, Any] = {}
    return Calls(table.get, table.__setitem__)


_AWAITED = "tiercache, awaited"
_LESS_HIT = "no expiry, no bound, no order, no counters, no copy"
_LESS_BYTES = {
    "": "keeps no time of writing, no size, no tags and attributes, no order by use beside the time of expiry",
    "dict": "keeps nothing but key and value",
    "OrderedDict as LRU": "keeps no times, no size, no tags",
    "cachetools LRUCache": "keeps no times, no tags",
    "cachebox LRUCache": "keeps no times, no size, no tags",
}


def _serve(name: str) -> None:
    makes: dict[str, Callable[[Place], Calls]] = {one.name: one.make for one in CONTENDERS}
    makes |= {OURS: _ours, "dict": _dict}
    with asyncio.Runner() as runner, ExitStack() as stack:
        calls = makes[name](Place(runner, stack, room=SIZES[-1] + 1))
        print(json.dumps("sync" if calls.get else "async"), flush=True)
        filled = 0
        before = _resident()
        for line in sys.stdin:
            what, number = line.split()[0], int(line.split()[1])
            if what == "fill":
                before = before if filled else _warmed(runner, calls)
                runner.run(_fill(calls, filled, number))
                filled = number
                gc.collect()
                answer: Any = (_resident() - before) / number - _KEY_BYTES - PAYLOAD_BYTES
            else:
                answer = _timed(runner, calls, filled, number, awaits=what == "atime")
            print(json.dumps(answer), flush=True)


_KEY_BYTES = 32


def _warmed(runner: asyncio.Runner, calls: Calls) -> int:
    """Return the resident bytes after what the first call imports."""
    runner.run(_fill(calls, -1, 0))
    gc.collect()
    return _resident()


async def _fill(calls: Calls, start: int, stop: int) -> None:
    encode = calls.encode
    for number in range(start, stop):
        key, value = f"{number:032x}", encode(number.to_bytes(PAYLOAD_BYTES, "big", signed=True))
        if calls.set:
            calls.set(key, value)
        elif calls.aset:
            await calls.aset(key, value)


def _timed(runner: asyncio.Runner, calls: Calls, filled: int, seed: int, *, awaits: bool) -> tuple[float, float]:
    chosen = random.Random(seed).choices(range(filled), k=ASKED)
    asked = [(f"{number:032x}",) for number in chosen]
    call: Any = calls.aget if awaits else calls.get
    with no_gc():
        took = awaited(runner, call, iter(asked), ASKED) if awaits else blocking(call, iter(asked), ASKED)
    return took.wall, took.cpu


def _resident() -> int:
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    _serve(sys.argv[1])
