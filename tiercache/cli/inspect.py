"""`tiercache inspect`: what each tier holds of one key."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .failures import Mistake, No
from .output import AsJson, duration, show, show_json, show_table, size
from .source import Config, Namespace, Urls, opened

if TYPE_CHECKING:
    from ..cache import Cache
    from ..entry import Metadata
    from .copies import Copy

_COLOURS = {"fresh": "green", "stale": "yellow", "invalidated": "yellow", "damaged": "red", "fails": "red"}
_HEX = 4096
"""Characters of a value that are shown to people."""


def inspect(
    key: Annotated[str, typer.Argument(help="The key, as the program writes it; or a full one, namespace:key.")],
    urls: Urls = None,
    config: Config = None,
    namespace: Namespace = None,
    value: Annotated[bool, typer.Option("--value", help="Show the value, too: it may be secret.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what each tier holds of a key: times, sizes, tags, attributes, and whether a read would take it.

    The key is looked for in the cache's namespace; where nothing is there, and no --namespace was given, `a:b` is the
    key `b` of the namespace `a`. Nothing is promoted, counted or changed. Memory is a process's own and is not seen.

    Exits with 1 when no tier holds anything for it.
    """
    from .copies import copies, differences, near

    with opened(urls, config, namespace) as cache:
        if all(tier.local for tier in cache.chain.tiers):
            raise Mistake("memory is each process's own and cannot be looked into from here; name the other tiers, too")
        full = f"{cache.namespace}:{key}"
        held = copies(cache, full)
        if namespace is None and not any(copy.is_there for copy in held) and _is_full(cache, key):
            elsewhere = copies(cache, key)
            if any(copy.is_there for copy in elsewhere):
                held, full = elsewhere, key
        found = any(copy.is_there for copy in held)
        hints = [] if found else near(cache, key)
    answering = next((copy for copy in held if copy.state == "fresh" and copy.asked), None)
    differing = differences(held)
    if as_json:
        document: dict[str, Any] = {
            "namespace": full.partition(":")[0],
            "key": full.partition(":")[2],
            "found": found,
            "answers": None if answering is None else answering.tier,
            "tiers": [_plain(copy) for copy in held],
            "differences": differing,
            "near": hints,
        }
        show_json(document | ({"value": _value(held)} if value else {}))
    else:
        _show(full, held, answering, differing)
        if value and found:
            show(_text(_value(held)))
    failed = next((copy.error for copy in held if copy.error is not None), None)
    if failed is not None:
        raise failed
    if not found:
        raise No(f"no tier holds {key!r} in the namespace {cache.namespace!r}{_hint(hints)}")


def _is_full(cache: Cache, key: str) -> bool:
    """Whether a key may be one with a namespace, another than the cache's."""
    from ..errors import ConfigurationError
    from ..keys import check_namespace

    name, colon, rest = key.partition(":")
    try:
        return bool(colon and rest) and check_namespace(name) != cache.namespace
    except ConfigurationError:
        return False


def _hint(hints: list[str]) -> str:
    return f"; there is {', '.join(map(repr, hints))}" if hints else "; `tiercache ls` shows what there is"


def _plain(copy: Copy) -> dict[str, Any]:
    metadata = copy.metadata
    described: dict[str, Any] = {}
    if metadata is not None:
        described = {name: getattr(metadata, name) for name in metadata.__struct_fields__ if name != "key"}
        described["stored_size"] = copy.stored
    return {
        "tier": copy.tier,
        "state": copy.state,
        "why": copy.why,
        "asked": copy.asked,
        "age": copy.age,
        "fresh_for": copy.fresh_for,
        "metadata": described or None,
    }


def _value(held: list[Copy]) -> Any:
    from ..codec import decode
    from ..errors import CorruptEntry
    from .copies import shown

    for state in ("fresh", "stale", "invalidated"):
        for copy in held:
            if copy.state == state and copy.entry is not None:
                try:
                    return shown(decode(copy.entry.payload, copy.entry.metadata.codec))
                except CorruptEntry as error:
                    return {"error": str(error)}
    return None


def _text(value: Any) -> str:
    import json

    text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
    return text if len(text) <= _HEX else f"{text[:_HEX]}… ({len(text):,} characters; --json shows all)"


def _show(full: str, held: list[Copy], answering: Copy | None, differing: list[str]) -> None:
    from .contents import printable

    show(printable(full))
    show_table(
        ["tier", "state", "age", "fresh for", "payload", "stored", "codec", "encoding", "class", "sealed with"],
        [_row(copy) for copy in held],
        numbers=["age", "fresh for", "payload", "stored"],
        styles=_COLOURS,
    )
    for copy in held:
        if copy.why:
            show(printable(f"{copy.tier}: {copy.why}"))
        if not copy.asked:
            show(f"{copy.tier}: its switch keeps reads of this key away")
    described = next((copy.metadata for copy in held if copy.metadata is not None), None)
    if described is not None:
        for line in _lines(described):
            show(printable(line))
    for text in differing:
        show(f"differs: {text}", style="yellow")
    if any(copy.is_there for copy in held):
        show(f"a read is answered by {answering.tier}" if answering else "a read is a miss")


def _row(copy: Copy) -> list[object]:
    metadata = copy.metadata
    if metadata is None:
        return [copy.tier, copy.state]
    return [
        copy.tier,
        copy.state,
        None if copy.age is None else duration(copy.age),
        "ever" if metadata.expires_at is None else duration(copy.fresh_for),
        size(metadata.size),
        size(copy.stored),
        metadata.codec,
        metadata.encoding or "none",
        metadata.storage_class,
        metadata.key_id or "not",
    ]


def _lines(metadata: Metadata) -> list[str]:
    lines = [f"made at {_utc(metadata.created_at)}"]
    if metadata.expires_at is not None:
        lines.append(f"expires at {_utc(metadata.expires_at)}")
    if metadata.stale_until is not None:
        lines.append(f"kept stale until {_utc(metadata.stale_until)}")
    if metadata.tags:
        lines.append(f"tags: {' '.join(metadata.tags)}")
    lines += [f"{name}: {_short(value)}" for name, value in sorted(metadata.attributes.items())]
    return lines


def _short(value: object) -> object:
    """A number as people read it; --json has all of its digits."""
    if not isinstance(value, float) or not math.isfinite(value):
        return value
    return f"{value:,.3f}".rstrip("0").rstrip(".") if abs(value) >= 1 else f"{value:.3g}"


def _utc(moment: float) -> str:
    try:
        return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{moment:g}"
