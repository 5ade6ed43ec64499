"""The jobs that every tier's contenders do: hits, misses, writes, batches of vectors, many callers at once."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
from harness import Row, Scale, interleave
from l1 import chat_response

from .contenders import Calls, Contender, Place, expect, first_vector, left_out, opened
from .measured import OURS, Call, Took, awaited, blocking, pair, tasks, threads

DIMENSIONS = 1536
BATCH = 100
CALLERS = (1, 16, 128)
SAMPLE_NS = 15e6
"""What one sample should take: far above the clocks' own cost, short enough for many rounds."""
Arguments = Sequence[tuple[Any, ...]]
Keys = list[str]


class Ring:
    """One tier's contenders, filled with the same values and asked in turn."""

    def __init__(
        self, tier: str, contenders: Sequence[Contender], place: Place, scale: Scale, *, keys: int, rounds: int = 15
    ) -> None:
        self.tier, self.place, self.scale = tier, place, scale
        self.rounds = scale.rounds(rounds)
        self.count = keys
        self.vectors = np.random.default_rng(1).standard_normal((BATCH, DIMENSIONS), dtype=np.float32)
        self.numbers = {contender: number for number, contender in enumerate(contenders)}
        self.calls = opened(contenders, place)

    def keys(self, contender: Contender, kind: str = "chat") -> Keys:
        """Return keys of its own: some share a server."""
        return [f"{kind}:{self.numbers[contender]:02}:{number:032x}" for number in range(self.count)]

    def batches(self, contender: Contender) -> list[Keys]:
        """Return the keys of two batches, asked for in turn."""
        own = self.numbers[contender]
        return [[f"embed:{own:02}:{batch}:{number:032x}" for number in range(BATCH)] for batch in range(2)]

    def rows(self, *, value: Any, values: str, batches: bool = True, callers: bool = True) -> Iterator[Row]:
        """Measure hits, misses and writes of a value, and the rest if asked to."""
        self._fill(value)
        yield from self.hits(values)
        yield from self._both("miss", "a miss", "get", lambda one: [(key,) for key in self.keys(one, "none")])

        def writes(one: Contender) -> Arguments:
            encoded = self.calls[one].encode(value)
            return [(key, encoded) for key in self.keys(one)[:200]]

        yield from self._both("write", f"a write, {values}", "set", writes)
        if batches:
            yield from self._batches()
        if callers:
            yield from self._crowds(values)

    def hits(self, values: str, job: str = "hit") -> Iterator[Row]:
        """Measure hits alone."""
        yield from self._both(job, f"a hit, {values}", "get", lambda one: [(key,) for key in self.keys(one)])

    def refill(self, value: Any) -> None:
        """Store another value under all keys."""
        self._fill(value)

    def _fill(self, value: Any) -> None:
        for contender, calls in list(self.calls.items()):
            wanted, keys = calls.encode(value), self.keys(contender)
            try:
                for key in keys:
                    self._perform(calls, "set", key, wanted)
                expect(self._perform(calls, "get", keys[0]) == wanted, "it does not give back what was stored")
                expect(not self._perform(calls, "get", self.keys(contender, "none")[0]), "it found what is not there")
            except Exception as error:
                if contender.name == OURS:
                    raise
                left_out(f"{self.tier}: {contender.name}", error)
                del self.calls[contender]

    def _perform(self, calls: Calls, name: str, *arguments: Any) -> Any:
        if call := getattr(calls, name):
            return call(*arguments)
        return self.place.runner.run(getattr(calls, f"a{name}")(*arguments))

    def _both(self, job: str, name: str, method: str, arguments: Callable[[Contender], Arguments]) -> Iterator[Row]:
        for face in ("sync", "async"):
            timers = {
                contender: self._timer(face, call, arguments(contender))
                for contender, calls in self.calls.items()
                if (call := getattr(calls, method if face == "sync" else f"a{method}"))
            }
            yield from self._rows(timers, job=job, face=face, name=f"{self.tier}: {name}, {face}")

    def _timer(self, face: str, call: Call, arguments: Arguments) -> Callable[[int], Took]:
        if face == "sync":
            return partial(blocking, call, cycle(arguments))
        return partial(awaited, self.place.runner, call, cycle(arguments))

    def _batches(self) -> Iterator[Row]:
        for contender, calls in list(self.calls.items()):
            if not (calls.set_many or calls.aset_many):
                continue
            try:
                for (batch,) in self._stored(contender):
                    self._perform(calls, "set_many", batch)
                keys = self.batches(contender)[0]
                got = first_vector(self._perform(calls, "get_many", keys), keys)
                expect(np.allclose(got, self.vectors[0]), "it does not give back what was stored")
            except Exception as error:
                if contender.name == OURS:
                    raise
                left_out(f"{self.tier}: {contender.name}, vectors", error)
                calls.get_many = calls.set_many = calls.aget_many = calls.aset_many = None
        size = f"{BATCH} vectors of {DIMENSIONS:,} float32"
        yield from self._both(
            "batch read", f"{size} read", "get_many", lambda one: [(keys,) for keys in self.batches(one)]
        )
        yield from self._both("batch write", f"{size} written", "set_many", self._stored)

    def _stored(self, contender: Contender) -> Arguments:
        return [(dict(zip(keys, self.vectors, strict=True)),) for keys in self.batches(contender)]

    def _crowds(self, values: str) -> Iterator[Row]:
        for face in ("sync", "async"):
            for callers in CALLERS:
                timers: dict[Contender, Callable[[int], Took]] = {}
                for contender, calls in self.calls.items():
                    arguments = cycle([(key,) for key in self.keys(contender)])
                    if face == "sync" and (call := calls.locked or calls.get):
                        timers[contender] = partial(threads, callers, call, arguments)
                    elif face == "async" and (call := calls.aget):
                        timers[contender] = partial(tasks, self.place.runner, callers, call, arguments)
                who = f"{callers} {'threads' if face == 'sync' else 'tasks'} at once"
                name = f"{self.tier}: a hit, {values}, {who}"
                yield from self._rows(timers, job="callers", face=face, name=name, callers=callers)

    def _rows(self, timers: Mapping[Contender, Callable[[int], Took]], **about: Any) -> Iterator[Row]:
        if len(timers) < 2:  # nobody to be beside
            return
        takers: dict[Contender, Callable[[], Took]] = {}
        for contender, timer in timers.items():
            try:
                takers[contender] = self._sample(timer, about.get("callers", 1))
            except Exception as error:
                if contender.name == OURS:
                    raise
                left_out(f"{about['name']}: {contender.name}", error)
        samples = interleave({one.name: taker for one, taker in takers.items()}, self.rounds)
        for contender in takers:
            if contender.name != OURS:
                less = contender.explanation(about["job"])
                yield pair(samples, contender.name, area="beside", tier=self.tier, less=less, **about)

    def _sample(self, timer: Callable[[int], Took], callers: int) -> Callable[[], Took]:
        """Return what takes one sample, of as many calls as take the time it should."""
        sample = SAMPLE_NS / 5 if self.scale.quick else SAMPLE_NS
        took = timer(callers).wall
        if took * callers < sample:  # the first call of all is no measure of the others
            took = timer(4 * callers).wall
        return partial(timer, min(50_000, max(callers, int(sample / took / callers) * callers)))


def answer() -> dict[str, Any]:
    """Return the value of most jobs: a chat completion of 1.6 kB as JSON."""
    return chat_response()


def noise(size: int) -> bytes:
    """Return seeded bytes."""
    return random.Random(1).randbytes(size)
