"""The metadata mirror: an entry's metadata as the user metadata of its object.

With it a HEAD, a console or an inventory tells what an entry is, without its body. The envelope stays the truth:
what does not fit into a store's limit (tags and attributes, most often) is left out of the mirror and named by its
`omitted` item, so that a reader who needs it knows to open the envelope.

`ITEMS` lists what it holds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from ..entry import AttributeValue, Metadata
from ..envelope import VERSION
from ..errors import CorruptEntry, UnknownFormat

ITEMS = {
    "tiercache-version": "version of the format, 1",
    "key-digest": "BLAKE2b-128 of the key: an object copied to another name is found out",
    "size": "bytes of the payload, uncompressed",
    "created": "when the entry was made, Unix seconds",
    "expires": "when it stops being fresh, Unix seconds; missing: never",
    "stale-until": "until when it may be served stale, Unix seconds",
    "as-of": "when the load that made it began, Unix seconds",
    "codec": "how the payload becomes a value, such as `msgpack` or `ndarray;<f4;384`",
    "encoding": "compression of the payload: `zstd`, or missing",
    "key-id": "the key of the key ring that sealed the entry, or missing",
    "tags": "JSON list",
    "attributes": "JSON object: model, tokens, price, tenant …",
    "model": "the attribute of that name once more, for people",
    "omitted": "items that were too large, hold what no header carries, or are encrypted; the envelope has them",
}
"""The mirror's items and what they mean, as the documentation shows them."""

_HEADER_BYTES = len("x-amz-meta-")  # the longest prefix of the clouds; whether it counts, they do not all say
_MARKER_BYTES = _HEADER_BYTES + len("omittedcodec,encoding,key-id,tags,attributes")
_UNPRINTABLE = "\0"
_HIDDEN = frozenset({"codec", "encoding", "tags", "attributes"})

_decode_tags = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_attributes = msgspec.json.Decoder(dict[str, AttributeValue]).decode


class Mirrored(NamedTuple):
    """What a mirror tells: the metadata, and whether nothing of them was left out."""

    metadata: Metadata
    complete: bool


def to_user_metadata(metadata: Metadata, limit: int, *, hidden: bool = False) -> dict[str, str]:
    """Return the mirror of an entry's metadata: names and values in printable ASCII.

    Args:
        metadata: as decoded from the envelope that is stored.
        limit: bytes of all names and values together that the store takes; at least 1,024.
        hidden: leave out what an encrypted envelope hides: codec, encoding, tags, attributes.
    """
    times = {
        "created": metadata.created_at,
        "expires": metadata.expires_at,
        "stale-until": metadata.stale_until,
        "as-of": metadata.as_of,
    }
    mirror = {"tiercache-version": str(VERSION), "key-digest": _digest(metadata.key), "size": str(metadata.size)}
    mirror |= {name: repr(time) for name, time in times.items() if time is not None}
    optional = {
        "codec": metadata.codec,
        "encoding": metadata.encoding,
        "key-id": metadata.key_id or "",
        "tags": _json(metadata.tags),
        "attributes": _json(metadata.attributes),
    }
    room = limit - _MARKER_BYTES - sum(map(_cost, mirror, mirror.values()))
    omitted = []
    for name, text in optional.items():
        if not text:
            continue
        if not (hidden and name in _HIDDEN) and _cost(name, text) <= room and _is_plain(text):
            mirror[name] = text
            room -= _cost(name, text)
        else:
            omitted.append(name)
    model = metadata.attributes.get("model")
    if not hidden and isinstance(model, str) and _is_plain(model) and _cost("model", model) <= room:
        mirror["model"] = model
    if omitted:
        mirror["omitted"] = ",".join(omitted)
    return mirror


def from_user_metadata(mirror: Mapping[str, str], key: str) -> Mirrored | None:
    """Return what the mirror tells of the entry `key`; None when the object carries no mirror.

    Raises:
        UnknownFormat: a later release wrote it.
        CorruptEntry: it is the mirror of another key, or damaged.
    """
    items = {name.lower(): text for name, text in mirror.items()}
    version = items.get("tiercache-version")
    if version is None:
        return None
    if version != str(VERSION):
        raise UnknownFormat(f"the object's metadata have version {version[:20]!r}, this release reads {VERSION}")
    if items.get("key-digest") != _digest(key):
        raise CorruptEntry("the object belongs to another key")
    try:
        metadata = Metadata(
            key=key,
            created_at=float(items["created"]),
            expires_at=_time(items.get("expires")),
            stale_until=_time(items.get("stale-until")),
            as_of=_time(items.get("as-of")),
            codec=items.get("codec", ""),
            encoding=items.get("encoding", ""),
            size=int(items["size"]),
            tags=_decode_tags(items.get("tags", "[]")),
            attributes=_decode_attributes(items.get("attributes", "{}")),
            key_id=items.get("key-id"),
        )
    except (KeyError, ValueError, msgspec.MsgspecError):
        raise CorruptEntry("the object's metadata cannot be read") from None
    if not metadata.has_sane_times():
        raise CorruptEntry("the object's times are not finite numbers")
    return Mirrored(metadata, "omitted" not in items)


def gone_at(mirror: Mapping[str, str]) -> float | None:
    """Return when the entry of a mirror may be deleted; None: never.

    Raises:
        CorruptEntry: there is no mirror, it is damaged, or a later release wrote it.
    """
    items = {name.lower(): text for name, text in mirror.items()}
    if items.get("tiercache-version") != str(VERSION):
        raise CorruptEntry("the object carries no metadata that this release reads")
    try:
        float(items["created"])
        end = _time(items.get("stale-until", items.get("expires")))
    except (KeyError, ValueError):
        raise CorruptEntry("the object's metadata cannot be read") from None
    if end is not None and not math.isfinite(end):
        raise CorruptEntry("the object's times are not finite numbers")
    return end


def made_of(mirror: Mapping[str, str]) -> tuple[float, tuple[str, ...]]:
    """Return when the load that made the entry of a mirror began, and its tags (none where they did not fit).

    Raises:
        CorruptEntry: the mirror is damaged.
    """
    items = {name.lower(): text for name, text in mirror.items()}
    try:
        moment = float(items.get("as-of", items["created"]))
        return moment, _decode_tags(items.get("tags", "[]"))
    except (KeyError, ValueError, msgspec.MsgspecError):
        raise CorruptEntry("the object's metadata cannot be read") from None


def _json(value: tuple[str, ...] | dict[str, AttributeValue]) -> str:
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False) if value else ""
    except ValueError:  # NaN has no form in JSON
        return _UNPRINTABLE


def _is_plain(text: str) -> bool:
    """Whether a header can carry the text unchanged."""
    return text.isascii() and text.isprintable() and text == text.strip() and text != ""


def _time(text: str | None) -> float | None:
    return None if text is None else float(text)


def _digest(key: str) -> str:
    return blake2b(key.encode(), digest_size=16).hexdigest()


def _cost(name: str, text: str) -> int:
    return _HEADER_BYTES + len(name) + len(text)
