"""A store for tests of the flows: remote as the chain sees it, in a dict, with a trace, a gate and faults."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import ClassVar

from tiercache import TierChain
from tiercache.backend import Backend
from tiercache.entry import Clock, Entry, Metadata
from tiercache.errors import BackendUnavailable

MARKS = "_meta:epochs:"


def after_first_use(chain: TierChain) -> None:
    """Be where a chain is after its first reads: the tiers were asked what they missed."""
    chain.missed.doubted = frozenset()


class RemoteBackend(Backend):
    """Entries in a dict, marks of namespaces in another.

    `trace` lists the operations on entries, `marks_trace` those on marks; `gates` hold an operation on entries until
    they are opened.
    """

    scheme: ClassVar[str] = "remote"
    keeps_deadlines = True  # it waits for nothing but the gates

    def __init__(self, clock: Clock, trace: list[str] | None = None, name: str = "remote") -> None:
        self.entries: dict[str, Entry] = {}
        self.marks: dict[str, Entry] = {}
        self.trace = [] if trace is None else trace
        self.name = name
        self.faults: dict[str, Exception] = {}
        self.gates: dict[str, threading.Event] = {}
        self.reached: dict[str, threading.Event] = {}
        self.marks_trace: list[str] = []
        self.marks_faults: dict[str, Exception] = {}
        self._clock = clock

    def hold(self, operation: str) -> tuple[threading.Event, threading.Event]:
        """Hold the operation: returns an event that says it was reached, and one that lets it go on."""
        self.gates[operation], self.reached[operation] = threading.Event(), threading.Event()
        return self.reached[operation], self.gates[operation]

    def break_down(self, error: Exception | None = None) -> None:
        for operation in ("get", "put", "delete", "head", "scan", "ping", "get_many", "put_many", "delete_many"):
            self.faults[operation] = error or BackendUnavailable("the store is down")

    def _enter(self, operation: str, key: str = "") -> None:
        if key.startswith(MARKS):  # they are asked for when they are due, which is no matter of the other tests
            self.marks_trace.append(operation)
            if operation in self.marks_faults:
                raise self.marks_faults[operation]
            return
        self.trace.append(f"{self.name}.{operation}")
        if operation in self.gates:
            self.reached[operation].set()
            assert self.gates[operation].wait(30), "the gate was never opened"
        if operation in self.faults:
            raise self.faults[operation]

    def get(self, key: str, *, deadline: float | None = None) -> Entry | None:
        held = self.marks if key.startswith(MARKS) else self.entries
        found = held.get(key)  # read first, then held: the reader may carry an old entry
        self._enter("get", key)
        return found if found is not None and found.metadata.is_usable(self._clock()) else None

    def put(
        self,
        key: str,
        entry: Entry,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        deadline: float | None = None,
    ) -> bool:
        self._enter("put", key)
        if key.startswith(MARKS):
            found = self.marks.get(key)
            if (if_absent and found is not None) or (if_match is not None and etag_of(found) != if_match):
                return False
            self.marks[key] = entry.with_metadata(etag=etag_of(entry))
            return True
        self.entries[key] = entry
        return True

    def delete(self, key: str, *, deadline: float | None = None) -> bool:
        self._enter("delete")
        return self.entries.pop(key, None) is not None

    def get_many(self, keys: Sequence[str], *, deadline: float | None = None) -> dict[str, Entry]:
        self._enter("get_many")
        now = self._clock()
        return {
            key: self.entries[key] for key in keys if key in self.entries and self.entries[key].metadata.is_usable(now)
        }

    def put_many(self, entries: dict[str, Entry], *, deadline: float | None = None) -> None:  # type: ignore[override]
        self._enter("put_many")
        self.entries.update(entries)

    def delete_many(self, keys: Sequence[str], *, deadline: float | None = None) -> int:
        self._enter("delete_many")
        for key in keys:
            self.entries.pop(key, None)
        return len(keys)

    def scan(
        self, prefix: str = "", *, full: bool = False, deadline: float | None = None
    ) -> Iterator[tuple[str, Metadata]]:
        self._enter("scan")
        yield from [(key, entry.metadata) for key, entry in self.entries.items() if key.startswith(prefix)]

    def ping(self, *, deadline: float | None = None) -> None:
        self._enter("ping")


def etag_of(entry: Entry | None) -> str | None:
    return None if entry is None else str(hash(entry.payload))
