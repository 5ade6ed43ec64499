"""Contract cases: one backend serves many threads."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor

from ..backend import Backend
from .contract_hooks import ContractHooks, needs

THREADS = 8
RACERS = 16


class ThreadCases(ContractHooks):
    """Mixed load and races."""

    def test_threads_read_whole_values_of_their_key(self, backend: Backend) -> None:
        keys = self.keys(5)

        def work(seed: int) -> int:
            dice = random.Random(seed)  # noqa: S311 - a reproducible mix, no secret
            reads = 0
            for number in range(self.operations_per_thread):
                key, operation = dice.choice(keys), dice.random()
                if operation < 0.4:
                    backend.put(key, self.entry(key, self._value(key, seed, number)))
                elif operation < 0.5:
                    backend.delete(key)
                elif operation < 0.6:
                    for found, entry in backend.get_many(keys).items():
                        assert self._is_value_of(found, entry.payload)
                else:
                    entry_or_none = backend.get(key)
                    if entry_or_none is not None:
                        assert self._is_value_of(key, entry_or_none.payload)
                        reads += 1
            return reads

        with ThreadPoolExecutor(THREADS) as pool:
            reads = sum(pool.map(work, range(THREADS)))
        assert reads > 0

    @staticmethod
    def _value(key: str, seed: int, number: int) -> bytes:
        return f"{key}|{seed}|{number}|".encode() * 100

    @staticmethod
    def _is_value_of(key: str, payload: bytes) -> bool:
        parts = payload.split(b"|")
        return len(parts) == 301 and parts[0] == key.encode() and payload == b"|".join([*parts[:3], b""]) * 100

    @needs("supports_if_absent", "conditions_are_atomic")
    def test_of_many_that_write_if_absent_one_wins(self, backend: Backend) -> None:
        key, start = self.key(), threading.Barrier(RACERS)

        def race(number: int) -> bool:
            entry = self.entry(key, b"%d" % number)
            start.wait(30)
            return backend.put(key, entry, if_absent=True)

        with ThreadPoolExecutor(RACERS) as pool:
            wrote = list(pool.map(race, range(RACERS)))
        assert wrote.count(True) == 1
        assert self.payload(backend, key) == b"%d" % wrote.index(True)

    @needs("supports_if_match", "conditions_are_atomic")
    def test_of_many_that_write_over_one_version_one_wins(self, backend: Backend) -> None:
        key, start = self.key(), threading.Barrier(RACERS)
        self.store(backend, key)
        version = self.etag(backend, key)

        def race(number: int) -> bool:
            entry = self.entry(key, b"%d" % number)
            start.wait(30)
            return backend.put(key, entry, if_match=version)

        with ThreadPoolExecutor(RACERS) as pool:
            wrote = list(pool.map(race, range(RACERS)))
        assert wrote.count(True) == 1
        assert self.payload(backend, key) == b"%d" % wrote.index(True)
