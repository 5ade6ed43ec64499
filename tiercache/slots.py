"""What memory keeps of an entry: a compact slot, and what many slots have in common."""

from __future__ import annotations

import math
from typing import Any

import msgspec
from blake3 import blake3

from .entry import AttributeValue, Entry, Metadata

ENTRY_OVERHEAD = 280
"""Bytes that an entry costs beyond key and payload (measured: `make bench`), counted toward `max_bytes`."""
MOST_TRAITS = 256
"""Descriptions that are kept to be shared."""


class Traits(msgspec.Struct, frozen=True):
    """What many entries have in common: one object for all vectors of a model, say. Spans are whole seconds.

    `label_bytes` is what tags and attributes take; it is counted for each entry that has them. `lag` is how long before
    `created_at` the load began; `as_of` stands for it where the two moments have no exact distance.
    """

    label_bytes: int
    codec: str
    ttl: float | None = None
    stale_for: float | None = None
    stale_until: float | None = None
    lag: float | None = None
    as_of: float | None = None
    tags: tuple[str, ...] = ()
    attributes: tuple[tuple[str, AttributeValue], ...] = ()


class Slot(msgspec.Struct, gc=False):
    """A stored entry, compact: 48 bytes, and one float; no key, no dict; infinity stands for never.

    `created_at` is None where `fresh_until` less the ttl is exactly that moment.
    """

    payload: bytes
    fresh_until: float
    created_at: float | None
    traits: Traits

    @property
    def gone_at(self) -> float:
        """When the entry may be dropped."""
        traits = self.traits
        if traits.stale_for is not None:
            return self.fresh_until + traits.stale_for
        return self.fresh_until if traits.stale_until is None else traits.stale_until

    @property
    def made_at(self) -> float:
        """When the entry was made."""
        return self.fresh_until - (self.traits.ttl or 0.0) if self.created_at is None else self.created_at

    @property
    def moment(self) -> float:
        """When the load that made the entry began: what marks are compared with."""
        traits = self.traits
        if traits.as_of is not None:
            return traits.as_of
        return self.made_at if traits.lag is None else self.made_at - traits.lag

    def metadata(self, key: str) -> Metadata:
        """Return the metadata, a copy of its own for each caller."""
        traits, fresh_until = self.traits, self.fresh_until
        return Metadata(
            key=key,
            created_at=self.made_at,
            expires_at=None if fresh_until == math.inf else fresh_until,
            stale_until=traits.stale_until if traits.stale_for is None else fresh_until + traits.stale_for,
            as_of=traits.as_of if traits.lag is None else self.moment,
            codec=traits.codec,
            size=len(self.payload),
            tags=traits.tags,
            attributes=dict(traits.attributes),
        )

    def etag(self) -> str:
        """Return a version made of the content."""
        text = f"{self.made_at} {self.fresh_until} {self.gone_at} {self.traits.codec}"
        return blake3(self.payload).update(text.encode()).hexdigest(16)


class RankedSlot(Slot, gc=False):
    """The slot of policies that keep something with an entry: see `eviction.order.Ranked`."""

    rank: int = 0


class QueuedSlot(RankedSlot, gc=False):
    """The slot of policies with two queues."""

    aside: bool = False


class SlotMaker:
    """Makes the slots of one kind, and lets them share what describes them."""

    def __init__(self, kind: type[Slot]) -> None:
        self.kind = kind
        self._traits: dict[Any, Traits] = {}

    def of(self, entry: Entry) -> Slot:
        """Return the slot of an entry."""
        metadata = entry.metadata
        expires_at, stale_until = metadata.expires_at, metadata.stale_until
        ttl = stale_for = None
        if expires_at is not None:
            ttl = _apart(metadata.created_at, expires_at)
            if stale_until is not None and (stale_for := _apart(expires_at, stale_until)) is not None:
                stale_until = None
        as_of, lag = metadata.as_of, None
        if as_of is not None:
            apart = metadata.created_at - as_of
            if metadata.created_at - apart == as_of:
                as_of, lag = None, apart
        identity: Any = (metadata.codec, ttl)
        traits: tuple[Any, ...]
        if (
            metadata.attributes
            or metadata.tags
            or stale_for is not None
            or stale_until is not None
            or metadata.as_of is not None
        ):
            attributes = tuple(metadata.attributes.items())
            traits = (metadata.codec, ttl, stale_for, stale_until, lag, as_of, metadata.tags, attributes)
            # 1, 1.0 and True are equal, as are 0.0 and -0.0, and must not stand for each other.
            exact = [repr(value) if type(value) is float else type(value) for _, value in attributes]
            identity = (traits, repr(lag), repr(as_of), *exact)
        else:
            traits = identity
        shared = self._traits.get(identity)
        if shared is None:
            if len(self._traits) >= MOST_TRAITS:
                self._traits.clear()
            shared = self._traits[identity] = Traits(_label_bytes(metadata), *traits)
        return self.kind(
            entry.payload,
            math.inf if expires_at is None else expires_at,
            metadata.created_at if ttl is None else None,
            shared,
        )


def size_of(key: str, slot: Slot) -> int:
    """Return the bytes that count toward `max_bytes`."""
    return len(key) + len(slot.payload) + ENTRY_OVERHEAD + slot.traits.label_bytes


def _apart(earlier: float, later: float) -> float | None:
    """Return the seconds between, if they are whole and lead exactly from each moment to the other."""
    seconds = float(later - earlier)
    return seconds if seconds.is_integer() and later - seconds == earlier and earlier + seconds == later else None


def _label_bytes(metadata: Metadata) -> int:
    values = [value for value in metadata.attributes.values() if isinstance(value, str)]
    labels = [*metadata.tags, *metadata.attributes, *values]
    return sum(len(label) + 60 for label in labels)  # a str costs 50 to 60 bytes beside its letters
