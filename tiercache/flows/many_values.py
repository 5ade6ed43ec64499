"""From many values to entries and back: the flows behind each operation of `Cache` on a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .. import codec
from ..entry import Entry
from ..errors import CorruptEntry
from ..noted import watching
from ..result import Result
from ..slots import Slot
from . import batch
from .read import Found
from .values import ValueFlows

_WARM_CHUNK = 1000
Held = Slot | Found
"""What holds a value: a slot of memory, or an entry of the tier that had it."""


class ManyValueFlows(ValueFlows):
    """The flows of one namespace, those of many keys included."""

    async def lookup_many(
        self, keys: Iterable[str], type: type[Any] | None, allow_stale: bool = False
    ) -> dict[str, Result]:
        """Return a result for each key that has a fresh value, in the order of the keys."""
        now, start = self.clock(), len(self.prefix)
        found = await self._find(keys, type, allow_stale)
        return {
            full[start:]: self._in_slot(full, value, held, now)
            if isinstance(held, Slot)
            else self.result_of(value, held.tier.label, held.entry.metadata)
            for full, (value, held) in found.items()
        }

    async def get_many(self, keys: Iterable[str], type: type[Any] | None, allow_stale: bool = False) -> dict[str, Any]:
        """Return the fresh values, in the order of the keys."""
        start = len(self.prefix)
        return {full[start:]: value for full, (value, _) in (await self._find(keys, type, allow_stale)).items()}

    async def set_many(self, entries: Mapping[str, Entry], *, fast_only: bool = False) -> None:
        """Store entries; `fast_only`: not in the last of several tiers."""
        puts = len(entries)
        self.counters.puts += puts
        await batch.write_many(self.chain, entries, fast_only=fast_only)

    async def delete_many(self, fulls: list[str]) -> int:
        """Remove entries."""
        absent = await batch.delete_many(self.chain, fulls)
        self.counters.deletes += absent
        return absent

    async def warm(self, fulls: list[str]) -> int:
        """Copy entries up, a thousand at a time."""
        found = 0
        for start in range(0, len(fulls), _WARM_CHUNK):
            chunk = fulls[start : start + _WARM_CHUNK]
            found += len(await batch.read_many(self.chain, chunk, warming=True))
        return found

    async def _find(
        self, keys: Iterable[str], type: type[Any] | None, allow_stale: bool
    ) -> dict[str, tuple[Any, Held]]:
        """Return each value that there is, in the order of the keys, and what holds it; count hits and misses."""
        fulls = self.fulls(keys)
        known = self._in_memory(fulls, type)
        missing = [full for full in fulls if full not in known]
        if missing:
            for full, found in (await batch.read_many(self.chain, missing, allow_stale=allow_stale)).items():
                try:
                    known[full] = (self.decode(found, type), found)
                except CorruptEntry:
                    continue  # counted by `decode`
            known = {full: known[full] for full in fulls if full in known}
        hits, misses = len(known), len(fulls) - len(known)
        self.counters.hits += hits  # a call within the addition might let another thread's count get lost
        self.counters.misses += misses
        if watching.get() is not None:
            self._note_all(held for _, held in known.values())
        return known

    def _in_memory(self, fulls: list[str], type: type[Any] | None) -> dict[str, tuple[Any, Held]]:
        """Return what memory answers without a flow, as it does for one key."""
        memory = self.chain.memory
        if memory is None:
            return {}
        fresh = self.chain.reader(self.prefix[:-1])
        known: dict[str, tuple[Any, Held]] = {}
        for full in fulls:
            slot = fresh(full)
            if slot is None:
                continue
            try:
                known[full] = (codec.decode(slot.payload, slot.traits.codec, type), slot)
            except CorruptEntry:
                continue  # the flow meets it again, and counts it
        if known:
            self.chain.tiers[0].counters.add(hits=len(known))
            self.chain.epochs.waken()  # as `Cache.get` does now and then
            memory.sweep()
        return known

    def _in_slot(self, full: str, value: Any, slot: Slot, now: float) -> Result:
        """Return the result of a hit in memory at `now`."""
        metadata = slot.metadata(full)
        ends = metadata.expires_at
        age, ttl = now - metadata.created_at, None if ends is None else max(0.0, ends - now)
        return Result(value, True, self.chain.tiers[0].label, max(0.0, age), ttl, False, metadata)

    def _note_all(self, held: Iterable[Held]) -> None:
        for one in held:
            if isinstance(one, Found):
                self._note(one)
            elif (watcher := watching.get()) is not None:
                watcher.answered(self.chain.tiers[0].label, "hit")
