"""`tiercache ls`: what the tiers hold, as it is listed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .failures import Mistake
from .output import AsJson, counted, duration, say, show, show_json, show_json_line, size
from .source import Config, Namespace, Urls, opened

if TYPE_CHECKING:
    from ..cache import Cache
    from .contents import Found, Walk

SORTED = 1000
"""Entries of a tier that are sorted, if they are all; more are shown as they come."""


def ls(
    urls: Urls = None,
    config: Config = None,
    namespace: Namespace = None,
    prefix: Annotated[str, typer.Option("--prefix", "-p", help="Only keys that start so.")] = "",
    tier: Annotated[str | None, typer.Option("--tier", help="Only the tier of that name.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="Only entries with this tag. Reads metadata.")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="Only entries of this tenant. Reads metadata.")] = None,
    long: Annotated[bool, typer.Option("--long", "-l", help="Codec, class, tags, too. Reads metadata.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Entries at most, of each tier.")] = None,
    as_json: AsJson = False,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="One JSON document a line and entry, as they come.")] = False,
) -> None:
    """List entries, tier by tier, as they come; up to a thousand of a tier are sorted.

    --namespace all lists all namespaces. What a listing does not know is left open: Redis does not tell when an entry
    was made, S3 not when it expires, unless --long has each entry looked at (a request each on S3, and on Google Cloud
    Storage and Azure where entries are sealed).

    Invalidated entries are left out as far as a listing tells; expired ones always.
    """
    from .contents import Selection, Walk, namespace_said, selected_namespace, tiers_of

    if as_json and jsonl:
        raise Mistake("--json is one document, --jsonl is one a line; choose one")
    totals: dict[str, dict[str, Any]] = {}
    entries: list[dict[str, Any]] = []
    with opened(urls, config, namespace_said(namespace)) as cache:
        own = selected_namespace(cache, namespace)
        selection = Selection(own, prefix, frozenset(tag or ()), tenant)
        chosen = tiers_of(cache, tier)
        tell = _told(as_json, jsonl, long)
        for each in chosen:
            walk = Walk(cache, each, selection, full=long)
            total = totals[each.label] = {"entries": 0, "bytes": 0, "complete": False, "invalidated": 0}
            for found in _sorted(walk, limit):
                total["entries"] += 1
                total["bytes"] += found.stored
                if as_json:
                    entries.append(_plain(found, cache))
                else:
                    tell(found, cache, with_namespace=own is None)
            total |= {"complete": walk.complete, "invalidated": walk.dead}
    if as_json:
        show_json({"entries": entries, "totals": totals})
        return
    for name, total in totals.items():
        text = f"{name}: {counted(total['entries'], 'entry')}, {size(total['bytes'])}"
        text += "" if total["complete"] else "; there may be more"
        text += f"; {counted(total['invalidated'], 'invalidated one')} left out" if total["invalidated"] else ""
        (say if jsonl else show)(text)


def _sorted(walk: Walk, limit: int | None) -> Iterator[Found]:
    """The entries that are alive; `walk` is not complete where there is one more than the limit."""
    living = (found for found in walk if not found.dead)
    few = SORTED if limit is None else min(SORTED, limit)
    first = list(islice(living, few + 1))
    if len(first) <= few:
        first.sort(key=lambda found: found.full)
    for number, found in enumerate(chain(first, living)):
        if number == limit:
            walk.complete = False
            return
        yield found


def _told(as_json: bool, jsonl: bool, long: bool) -> Callable[..., None]:
    if jsonl:
        return lambda found, cache, with_namespace: show_json_line(_plain(found, cache))
    if not as_json:
        show(_line("TIER", "STORED", "AGE", "LEFT", *(("CLASS", "CODEC") if long else ()), "KEY"), style="bold")

    def line(found: Found, cache: Cache, with_namespace: bool) -> None:
        from .contents import printable

        metadata, now = found.metadata, cache.chain.clock()
        key = printable(found.full if with_namespace else found.key)
        more = (metadata.storage_class or "-", metadata.codec) if long else ()
        tags = f"  [{' '.join(map(printable, metadata.tags))}]" if long and metadata.tags else ""
        made = duration(metadata.age(now)) if metadata.created_at else "?"
        show(_line(found.tier, size(found.stored), made, duration(metadata.ttl(now)), *more, key + tags))

    return line


def _line(tier: str, stored: str, age: str, left: str, *rest: str) -> str:
    *more, key = rest
    return "  ".join([f"{tier:<8}", f"{stored:>10}", f"{age:>8}", f"{left:>8}", *(f"{text:<12}" for text in more), key])


def _plain(found: Found, cache: Cache) -> dict[str, Any]:
    metadata, now = found.metadata, cache.chain.clock()
    return {
        "tier": found.tier,
        "namespace": found.namespace,
        "key": found.key,
        "stored_size": found.stored,
        "created_at": metadata.created_at or None,
        "age": metadata.age(now) if metadata.created_at else None,
        "expires_at": metadata.expires_at,
        "storage_class": metadata.storage_class,
        "codec": metadata.codec if found.in_full else None,
        "tags": list(metadata.tags) if found.in_full else None,
        "attributes": metadata.attributes if found.in_full else None,
    }
