"""Histories of a packed store: what two processes did to it, and what a dict says must be there."""

from __future__ import annotations

from typing import Any

from tests.packed.objects import MemoryObjects, entry, packed
from tiercache.packed import naming, segment
from tiercache.testing import FakeClock

KEYS = tuple(f"n:{number}" for number in range(6))


class Died(Exception):
    """The process ends here: it makes no further call."""


def die_at(objects: MemoryObjects, call: int, *, after: bool) -> None:
    """Let a process die before, or after, its so-manieth call of the store from now on: no more is carried out.

    To die after a call is to die before the next one of the same process, whatever it would be.
    """
    made = 0

    def before(name: str, _: str) -> None:
        nonlocal made
        made += 1
        if made > call or (made == call and not after):
            raise Died

    objects.before = before


def live(objects: MemoryObjects) -> None:
    """Let calls be carried out again."""
    objects.before = lambda call, name: None


def contents(objects: MemoryObjects, clock: FakeClock, **options: Any) -> dict[str, bytes]:
    """Return what a process that begins now finds."""
    backend = packed(objects, clock=clock, **options)
    return {key: found.payload for key, found in backend.get_many(KEYS).items()}


def records(objects: MemoryObjects) -> list[tuple[str, segment.Located, bytes]]:
    """Return every record of every segment: its key ("" for a tombstone), its place, and its bytes."""
    found = []
    for name in objects.segments():
        parts, body = naming.parse("p/", name), objects.bodies[name]
        assert parts is not None
        tail = segment.read_tail(body[-parts.tail :], size=len(body), count=parts.count)
        keys = segment.read_keys(body[tail.keys_at : tail.keys_at + tail.keys_bytes], tail)
        for key, at in zip(keys, segment.located(tail.index), strict=True):
            found.append((key, at, body[at.offset : at.offset + at.length]))
    return found


class History:
    """Two processes that use one store, and what must be there.

    Args:
        segment_bytes: of both; with a small one, few segments are small.

    Attributes:
        objects: the store.
        clock: of both.
        expected: value and end of each key that is there.
    """

    def __init__(self, segment_bytes: int = 8 * 2**20) -> None:
        self.objects = MemoryObjects()
        self.clock = FakeClock()
        self.segment_bytes = segment_bytes
        self.processes = self._two()
        self.expected: dict[str, tuple[bytes, float | None]] = {}
        self.count = 0

    def put(self, process: int, key: str, ttl: float | None) -> None:
        """One process puts a new value, and the other sees it."""
        self.count += 1
        value = b"value %d " % self.count * 8
        self.processes[process].put(key, entry(key, value, ttl=ttl, now=self.clock()))
        self.expected[key] = (value, None if ttl is None else self.clock() + ttl)
        self.clock.advance(1)

    def delete(self, process: int, key: str) -> None:
        """One process deletes a key."""
        self.processes[process].delete(key)
        self.expected.pop(key, None)
        self.clock.advance(1)

    def flush(self) -> None:
        """All is stored, and known to both."""
        for process in self.processes:
            process.flush()
        for process in self.processes:
            process.refresh()

    def restart(self) -> None:
        """Both processes end without a word; others take their place."""
        live(self.objects)
        self.processes = self._two()

    def _two(self) -> list[Any]:
        return [packed(self.objects, clock=self.clock, segment_bytes=self.segment_bytes) for _ in range(2)]

    def must_be(self) -> dict[str, bytes]:
        """Return what must be there now."""
        now = self.clock()
        return {key: value for key, (value, end) in self.expected.items() if end is None or end > now}
