"""One comparison with one peer: wall time and CPU of an operation, and what the peer does less."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import median, quantiles
from time import perf_counter_ns, process_time_ns
from typing import Any

from harness import Row

OURS = "tiercache"
Call = Callable[..., Any]
Arguments = Iterator[tuple[Any, ...]]
"""Without an end: each sample goes on where the last one stopped, so that no key is asked for again at once."""


@dataclass(frozen=True, slots=True)
class Took:
    """Nanoseconds of one operation: on the clock, and of the CPU by all threads of the process."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Pair(Row):
    """A row that knows CPU as well as wall time.

    Attributes:
        tier, job, face, callers: what was done where, how, by how many at once.
        cpu_ours, cpu_theirs, cpu_ratio: as `ours`, `theirs`, `ratio`, in CPU.
        less: what the peer does less than we do at this job.
    """

    tier: str = ""
    job: str = ""
    face: str = "sync"
    callers: int = 1
    cpu_ours: float | None = None
    cpu_theirs: float | None = None
    cpu_ratio: float | None = None
    less: str = ""


def pair(samples: Mapping[str, Sequence[Took]], peer: str, **about: Any) -> Pair:
    """Return the row of one peer, ratios being the medians of the rounds' own."""
    both = list(zip(samples[OURS], samples[peer], strict=True))
    walls = [ours.wall / theirs.wall for ours, theirs in both]
    first, _, third = quantiles(walls, n=4)
    return Pair(
        unit="ns",
        ours=median(ours.wall for ours, _ in both),
        peer=peer,
        theirs=median(theirs.wall for _, theirs in both),
        ratio=median(walls),
        spread=(first, third),
        cpu_ours=median(ours.cpu for ours, _ in both),
        cpu_theirs=median(theirs.cpu for _, theirs in both),
        cpu_ratio=median(ours.cpu / max(theirs.cpu, 1) for ours, theirs in both),
        **about,
    )


def blocking(call: Call, arguments: Arguments, calls: int) -> Took:
    """Time so many calls, one after the other."""
    asked = list(islice(arguments, calls))
    wall, cpu = perf_counter_ns(), process_time_ns()
    _ask(call, asked)
    return _took(wall, cpu, calls)


def awaited(runner: asyncio.Runner, call: Call, arguments: Arguments, calls: int) -> Took:
    """`blocking` for what must be awaited."""

    async def timed() -> Took:
        asked = list(islice(arguments, calls))
        wall, cpu = perf_counter_ns(), process_time_ns()
        await _aask(call, asked)
        return _took(wall, cpu, calls)

    return runner.run(timed())


def threads(callers: int, call: Call, arguments: Arguments, calls: int) -> Took:
    """Time calls from so many threads at once; starting the threads is not counted."""
    each = max(1, calls // callers)
    barrier, failures = threading.Barrier(callers + 1), []

    def work(asked: Sequence[tuple[Any, ...]]) -> None:
        barrier.wait()
        try:
            _ask(call, asked)
        except Exception as error:
            failures.append(error)

    shares = [list(islice(arguments, each)) for _ in range(callers)]
    workers = [threading.Thread(target=work, args=(share,)) for share in shares]
    for worker in workers:
        worker.start()
    wall, cpu = perf_counter_ns(), process_time_ns()
    barrier.wait()
    for worker in workers:
        worker.join()
    if failures:
        raise failures[0]
    return _took(wall, cpu, each * callers)


def tasks(runner: asyncio.Runner, callers: int, call: Call, arguments: Arguments, calls: int) -> Took:
    """Time calls from so many tasks at once."""
    each = max(1, calls // callers)

    async def timed() -> Took:
        asked = [list(islice(arguments, each)) for _ in range(callers)]
        wall, cpu = perf_counter_ns(), process_time_ns()
        await asyncio.gather(*(_aask(call, some) for some in asked))
        return _took(wall, cpu, each * callers)

    return runner.run(timed())


def _ask(call: Call, asked: Sequence[tuple[Any, ...]]) -> None:
    if len(asked[0]) == 1:
        for (key,) in asked:
            call(key)
    else:
        for key, value in asked:
            call(key, value)


async def _aask(call: Call, asked: Sequence[tuple[Any, ...]]) -> None:
    if len(asked[0]) == 1:
        for (key,) in asked:
            await call(key)
    else:
        for key, value in asked:
            await call(key, value)


def _took(wall: int, cpu: int, calls: int) -> Took:
    return Took((perf_counter_ns() - wall) / calls, (process_time_ns() - cpu) / calls)
