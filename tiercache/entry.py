"""What a tier stores: an `Entry` is payload bytes and the `Metadata` that describe them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec

from .errors import ConfigurationError

Clock = Callable[[], float]
"""Returns Unix seconds, as `time.time` does."""

AttributeValue = str | int | float | bool | None

CLOCK_SKEW = 300.0
"""Seconds that another machine's clock may be ahead before its entries are not believed."""


def check_clock(clock: Clock) -> Clock:
    """Return the clock, which must be a function."""
    if not callable(clock):
        raise ConfigurationError(
            f"clock must be a function that returns Unix seconds, not of type {type(clock).__name__}"
        )
    return clock


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an entry without its payload. Times are Unix seconds.

    Attributes:
        key: the full stored key, `namespace:key`. Compared on every read from a remote tier.
        created_at: when the entry was made.
        expires_at: when it stops being fresh; None: never.
        stale_until: until when a stale copy may be served; None: it is gone when it is no longer fresh.
        as_of: when the load that made the value began; None: at `created_at`.
        codec: how the payload becomes a value, such as `bytes`, `msgpack`, `ndarray;<f4;384`.
        encoding: how the store compressed the payload (`zstd`), or empty.
        size: bytes of the payload, uncompressed.
        stored_size: bytes that the store holds for the entry; None when unknown.
        tags: labels for invalidation.
        attributes: what people want to see later: model, tokens, price, tenant, seconds to compute it again.
        storage_class: the object store's class; None elsewhere.
        etag: the store's version of the entry, for a put with `if_match`; None when unknown.
        key_id: the key of the `KeyRing` that sealed the stored entry; None: it is not sealed, or in memory.
    """

    key: str
    created_at: float
    expires_at: float | None = None
    stale_until: float | None = None
    as_of: float | None = None
    codec: str = "bytes"
    encoding: str = ""
    size: int = 0
    stored_size: int | None = None
    tags: tuple[str, ...] = ()
    attributes: dict[str, AttributeValue] = {}
    storage_class: str | None = None
    etag: str | None = None
    key_id: str | None = None

    @property
    def gone_at(self) -> float | None:
        """When a store may drop the entry: the end of its stale time; None: never."""
        return self.expires_at if self.stale_until is None else self.stale_until

    def is_expired(self, now: float) -> bool:
        """Whether the entry may no longer be served at all, not even stale."""
        gone_at = self.gone_at
        return gone_at is not None and gone_at <= now

    def is_stale(self, now: float) -> bool:
        """Whether the entry is past its `ttl` (it may still be within `stale_for`)."""
        return self.expires_at is not None and self.expires_at <= now

    def is_usable(self, now: float) -> bool:
        """Whether a store may return the entry: not expired, and not made implausibly far in the future."""
        gone_at = self.expires_at if self.stale_until is None else self.stale_until  # on the path of every hit
        return (gone_at is None or gone_at > now) and self.created_at <= now + CLOCK_SKEW

    def age(self, now: float) -> float:
        """Seconds since the entry was made; a clock that is a little ahead counts as 0."""
        return max(0.0, now - self.created_at)

    def ttl(self, now: float) -> float | None:
        """Seconds for which the entry stays fresh, not negative; None: for ever."""
        return None if self.expires_at is None else max(0.0, self.expires_at - now)

    @property
    def loaded_at(self) -> float:
        """When the load that made the value began (Unix seconds): what older and newer mean.

        Epochs, tombstones, late writes and notices are compared with it, and never with `created_at`.
        """
        return self.created_at if self.as_of is None else self.as_of

    def has_sane_times(self) -> bool:
        """Whether all times are finite numbers (NaN compares false with everything, so it would never expire)."""
        finite = math.isfinite
        return (
            finite(self.created_at)
            and (self.expires_at is None or finite(self.expires_at))
            and (self.stale_until is None or finite(self.stale_until))
            and (self.as_of is None or finite(self.as_of))
        )

    def __repr__(self) -> str:  # neither key, tags nor attributes: a repr ends up in logs
        return f"<Metadata codec={self.codec!r} size={self.size} expires_at={self.expires_at}>"

    def __rich_repr__(self) -> Any:
        yield "codec", self.codec
        yield "size", self.size
        yield "expires_at", self.expires_at


class Entry(msgspec.Struct, frozen=True, eq=False):
    """Payload bytes and their metadata.

    Attributes:
        payload: the encoded value, uncompressed.
        metadata: what describes it.
        wire: the envelope that the entry was read from, if it was: a promotion writes these bytes as they are.
        storage_class: the class that the writer asks an object store for; None: as the tier's rules or the backend's
            default say. What an object is in, its `metadata.storage_class` says; it is never asked for elsewhere.
    """

    payload: bytes
    metadata: Metadata
    wire: bytes | None = None
    storage_class: str | None = None

    def with_metadata(self, **changes: Any) -> Entry:
        """Return a copy with these metadata fields changed (its envelope is made anew)."""
        metadata = msgspec.structs.replace(self.metadata, **changes)
        return Entry(self.payload, metadata, storage_class=self.storage_class)

    def in_class(self, storage_class: str | None) -> Entry:
        """Return a copy that asks for another storage class."""
        return Entry(self.payload, self.metadata, self.wire, storage_class)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entry) and (self.payload, self.metadata) == (other.payload, other.metadata)

    def __repr__(self) -> str:
        return f"<Entry {len(self.payload)} bytes {self.metadata!r}>"

    def __rich_repr__(self) -> Any:
        yield len(self.payload)
        yield self.metadata
