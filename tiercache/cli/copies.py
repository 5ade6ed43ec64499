"""What each tier holds of one key, as it is, without promoting or counting anything."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from itertools import islice
from typing import Any

from ..cache import Cache
from ..coherence.guard import Guard, Seen
from ..entry import Entry, Metadata
from ..epochs.agreement import judged
from ..epochs.table import Space
from ..errors import BackendError, CorruptEntry, NotSealed, TiercacheError, UnknownFormat, UnknownKey
from ..flow import drive
from ..tier import Tier

LOOKED_AT = 5000
"""Keys of a tier among which near ones are looked for."""
_SHOWN = 3


@dataclass
class Copy:
    """The copy in one tier.

    Attributes:
        tier: its name.
        state: `fresh`, `stale`, `invalidated`, `deleted`, `damaged`, `sealed`, `unknown`, `absent` or `fails`.
        why: more about the state.
        age: seconds since it was made.
        fresh_for: seconds that it stays fresh; None: for ever, or it is not.
        metadata: what is known of it.
        deleted_at: when a tombstone says that it was deleted (Unix seconds).
        asked: whether reads of the key go to this tier, by its switch.
        entry: all of it.
        error: what kept it from being read.
    """

    tier: str
    state: str = "absent"
    why: str | None = None
    age: float | None = None
    fresh_for: float | None = None
    metadata: Metadata | None = None
    entry: Entry | None = field(default=None, repr=False)
    error: TiercacheError | None = None
    asked: bool = True
    deleted_at: float | None = None

    @property
    def is_there(self) -> bool:
        """Whether the tier holds anything for the key."""
        return self.state not in ("absent", "deleted", "fails")

    @property
    def stored(self) -> int | None:
        """Bytes that it takes in the store."""
        wire = self.entry.wire if self.entry is not None else None
        known = self.metadata.stored_size if self.metadata is not None else None
        return known if known is not None else None if wire is None else len(wire)


def copies(cache: Cache, full: str) -> list[Copy]:
    """Return what the tiers hold of a full key, from fast to slow; memory, which is a process's own, is left out."""
    chain, space = cache.chain, cache.chain.epochs.of(full)
    chain.strict = False  # a tier that fails is shown as that
    believed = drive(judged(chain, space))
    held = [_copy(cache, tier, full, space, tier in believed) for tier in chain.tiers if not tier.local]
    _bar(held)
    return held


def _bar(held: list[Copy]) -> None:
    """A read passes over what is older than a tombstone above it."""
    deleted, by = -math.inf, ""
    for copy in held:
        if copy.deleted_at is not None:
            deleted, by = max(deleted, copy.deleted_at), copy.tier
        elif copy.state in ("fresh", "stale") and copy.metadata is not None and copy.metadata.loaded_at <= deleted:
            copy.state, copy.why = "invalidated", f"{by} knows that it was deleted since"


def _copy(cache: Cache, tier: Tier, full: str, space: Space, believed: bool) -> Copy:
    copy = Copy(tier.label, asked=tier.reads(full))
    try:
        seen = _seen(tier, full)
    except Exception as error:  # noqa: BLE001 - sorted here
        _explain(copy, tier.mapped(error))
        return copy
    copy.deleted_at = seen.deleted_at
    if seen.deleted_at is not None:
        copy.state, copy.why = "deleted", "a tombstone keeps late writes of older values out"
    entry = seen.entry
    if entry is None:
        return copy
    now, metadata = cache.chain.clock(), entry.metadata
    copy.entry, copy.metadata = entry, metadata
    copy.age, copy.fresh_for = metadata.age(now), metadata.ttl(now)
    copy.why = _invalidated(space, tier, metadata)
    copy.state = "invalidated" if copy.why else "stale" if metadata.is_stale(now) else "fresh"
    if not believed:
        copy.state, copy.why = "unknown", "what was invalidated could not be read from this tier"
    return copy


def _seen(tier: Tier, full: str) -> Seen:
    if isinstance(tier.backend, Guard):
        return tier.backend.get_seen(full)
    return Seen(entry=tier.backend.get(full))


def _explain(copy: Copy, error: TiercacheError) -> None:
    copy.why = str(error) or type(error).__name__
    if isinstance(error, UnknownKey):
        copy.state = "sealed"
    elif isinstance(error, UnknownFormat):
        copy.state = "unknown"
    elif isinstance(error, NotSealed | CorruptEntry):
        copy.state = "damaged"
    else:
        copy.state, copy.error = "fails", error


def _invalidated(space: Space, tier: Tier, metadata: Metadata) -> str | None:
    """Return what makes an entry dead; None: nothing does."""
    moment = metadata.loaded_at
    if not space.covers(moment, metadata.tags, tier):
        return None
    marks = space.marks
    if moment <= marks.epoch:
        return f"the namespace was cleared {_ago(space, marks.epoch)} after it was made"
    tags = [tag for tag in metadata.tags if moment <= marks.tags.get(tag, float("-inf"))]
    if tags:
        return f"tag {', '.join(tags)} was invalidated after it was made"
    return "the marks of this tier were damaged since: what is older is not believed"


def _ago(space: Space, moment: float) -> str:
    return f"at {datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC," if moment > 0 else ""


def differences(held: list[Copy]) -> list[str]:
    """Return in what copies differ from that in the fastest tier."""
    whole = [copy for copy in held if copy.entry is not None]
    return [text for copy in whole[1:] for text in _differing(whole[0], copy)]


def _differing(first: Copy, other: Copy) -> Iterator[str]:
    if first.entry is None or other.entry is None or first.metadata is None or other.metadata is None:
        return
    one, two = first.metadata, other.metadata
    where = f"{other.tier} and {first.tier}"
    if first.entry.payload != other.entry.payload or one.codec != two.codec:
        made = two.loaded_at - one.loaded_at
        when = "of the same time" if not made else f"{abs(made):,.3g} s {'newer' if made > 0 else 'older'}"
        yield f"{where}: other values; that in {other.tier} is {when}"
    for name in ("created_at", "expires_at", "stale_until"):
        before, after = getattr(one, name), getattr(two, name)
        if before != after and (before is None or after is None or abs(before - after) > 0.001):
            yield f"{where}: {name} {_time(after)} and {_time(before)}"
    for name in ("tags", "attributes", "key_id"):
        if getattr(one, name) != getattr(two, name):
            yield f"{where}: other {name}"


def _time(moment: float | None) -> str:
    if moment is None:
        return "never"
    try:
        return f"{datetime.fromtimestamp(moment, UTC).isoformat(' ', 'milliseconds').removesuffix('+00:00')} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{moment:g}"


def near(cache: Cache, key: str) -> list[str]:
    """Return keys that look like one, among the first few thousand of each tier; those of another namespace with it."""
    prefix = f"{cache.namespace}:"
    found = {name.removeprefix(prefix): None for name in _first(cache, prefix)}
    other = key.partition(":")[0] + ":"
    if other != prefix and ":" in key:
        found |= dict.fromkeys(_first(cache, other))
    return get_close_matches(key, found, _SHOWN, 0.6)


def _first(cache: Cache, prefix: str) -> Iterator[str]:
    for tier in cache.chain.tiers:
        if not tier.local:
            try:
                yield from (name for name, _ in islice(tier.backend.scan(prefix), LOOKED_AT))
            except BackendError:
                continue  # what it would have told is a hint


def shown(value: Any) -> Any:
    """Return a value as JSON can hold it: bytes as hex, arrays by shape, type and first numbers, the rest as it is."""
    import json

    import msgspec

    from ..arrays import is_array

    if isinstance(value, bytes | bytearray | memoryview):
        return {"bytes": len(value), "hex": bytes(value).hex()}
    if is_array(value):
        first = value.ravel()[:8].tolist()
        return {"shape": list(value.shape), "dtype": str(value.dtype), "first": first}
    try:
        return json.loads(msgspec.json.encode(value, enc_hook=repr))
    except (TypeError, ValueError, msgspec.MsgspecError):
        return repr(value)
