"""`tiercache rm`: remove entries from all tiers, after it was shown which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .failures import Mistake, No
from .output import AsJson, Yes, agreed, progress, say, show, show_json, show_table, size
from .source import Config, Namespace, Urls, opened

if TYPE_CHECKING:
    from .removal import Preview, Removal


def rm(
    urls: Urls = None,
    config: Config = None,
    namespace: Namespace = None,
    key: Annotated[list[str] | None, typer.Option("--key", "-k", help="This key. May be given several times.")] = None,
    prefix: Annotated[str | None, typer.Option("--prefix", "-p", help="All keys that start so.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="What carries this tag. Several times: any.")] = None,
    tenant: Annotated[str | None, typer.Option("--tenant", help="What was made for this tenant (see below).")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of the namespace.")] = False,
    purge: Annotated[bool, typer.Option("--purge", help="With --tag and --all: delete the bytes, too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go, and remove nothing.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove entries from all tiers: it shows which, asks, and does it.

    --key, --prefix and --tenant delete entry by entry. --tag and --all invalidate: one small write a tier makes all of
    them misses at once, and the bytes stay until they expire, are evicted, swept, or --purge deletes them.

    --tenant goes by what entries say of themselves: the attribute `scope` that tiercache.llm writes for `tenant=…`, or
    an attribute `tenant` that the program set. All entries are looked at (a HEAD each on S3); those of programs that
    keep tenants apart by namespace, prefix or tag are removed by these.

    --namespace all takes all namespaces, and by itself everything in them.

    Exits with 1 when there is nothing to remove.
    """
    from .contents import EVERY_NAMESPACE, namespace_said, selected_namespace, tiers_of
    from .removal import Removal

    kinds = {"--key": key, "--prefix": prefix, "--tag": tag, "--tenant": tenant, "--all": everything or None}
    said = [name for name, value in kinds.items() if value is not None]
    if not said and namespace in EVERY_NAMESPACE:
        said, everything = ["--all"], True
    if len(said) != 1:
        raise Mistake(f"remove what? Give one of {', '.join(kinds)}" + (f", not {' and '.join(said)}" if said else ""))
    if prefix == "":
        raise Mistake("an empty prefix is everything: say --all")
    if tenant == "" or "" in (tag or ()):
        raise Mistake("an empty tag or tenant is none: name it")
    with opened(urls, config, namespace_said(namespace)) as cache:
        tiers_of(cache)
        removal = Removal(
            cache,
            selected_namespace(cache, namespace),
            keys=tuple(dict.fromkeys(key or ())),
            prefix=prefix or "",
            tags=tuple(dict.fromkeys(tag or ())),
            tenant=tenant,
            everything=everything,
            purge=purge,
        )
        previews = removal.preview()
        if not as_json:
            _show(previews, removal)
        document = _document(previews, removal, dry_run=dry_run)
        empty = not any(preview.entries for preview in previews)
        if empty and not removal.invalidates:
            if as_json:
                show_json(document)
            raise No("nothing to remove: no tier has such an entry")
        if dry_run or not agreed(_question(previews, removal), yes=yes):
            if as_json:
                show_json(document)
            elif not dry_run:
                say("nothing was removed")
            return
        document["removed"] = _removed(removal)
        document["told"] = removal.told
    if as_json:
        show_json(document)
    else:
        show(_done(document["removed"], removal))
        show(removal.told)


def _removed(removal: Removal) -> int | None:
    with progress() as bar:
        task = bar.add_task("removed", total=None, unit="entries")
        removed = removal.remove(lambda count: bar.advance(task, count))
    return removed if removal.counts else None


def _done(removed: int | None, removal: Removal) -> str:
    return "invalidated; they are misses from now on" if removed is None else f"{removed:,} keys removed from all tiers"


def _question(previews: list[Preview], removal: Removal) -> str:
    most = max((preview.entries for preview in previews), default=0)
    about = "" if all(preview.complete for preview in previews) else "at least "
    return f"{removal.verb} {about}{most:,} entries ({removal.what})?"


def _show(previews: list[Preview], removal: Removal) -> None:
    show(f"{removal.verb} {removal.what}, in {', '.join(preview.tier for preview in previews)}")
    show_table(
        ["tier", "entries", "bytes", "looked at", "how"],
        [
            [
                preview.tier,
                f"{'' if preview.complete else '≥ '}{preview.entries:,}",
                size(preview.bytes),
                f"{preview.looked_at:,}",
                preview.how,
            ]
            for preview in previews
        ],
        numbers=["entries", "bytes", "looked at"],
    )
    examples = list(dict.fromkeys(key for preview in previews for key in preview.examples))[:5]
    if examples:
        show(f"such as {', '.join(examples)}")


def _document(previews: list[Preview], removal: Removal, *, dry_run: bool) -> dict[str, Any]:
    return {
        "what": removal.what,
        "how": "invalidate" if removal.invalidates else "delete",
        "purge": removal.purge or not removal.invalidates,
        "dry_run": dry_run,
        "tiers": previews,
        "removed": 0 if removal.counts else None,
        "told": None,
    }
