"""`tiercache rm`: remove entries from all tiers, after it was shown which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .failures import Mistake, No
from .output import AsJson, Yes, agreed, counted, progress, say, show, show_json, show_table, size
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

    What was shown goes, and nothing that came since: of a key the copies in all tiers, and with --tag --purge what was
    made before. (--all --purge deletes what is made while it runs, too: a miss.) More than 200,000 keys are shown,
    asked about and deleted in portions.

    --namespace all takes all namespaces, and by itself everything in them.

    Exits with 1 when there is nothing to remove. With --tag and --all it invalidates all the same, as what is being
    made, or is in the memory of processes, is not seen; of more than 10,000 entries that were looked at (1,000 where
    each costs a request) it does not know, and exits with 0.
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
        document = _document([], removal, dry_run=dry_run)
        try:
            _go(removal, document, dry_run=dry_run, yes=yes, as_json=as_json)
        finally:
            if as_json and document["tiers"]:
                show_json(document)


def _go(removal: Removal, document: dict[str, Any], *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Show, ask and remove, portion by portion, and note in the document what was shown and done."""
    last: dict[str, None] = {}
    while True:
        previews = _previews(removal, keep=not dry_run)
        before = {preview.tier: preview for preview in document["tiers"]}
        empty = not any(preview.entries for preview in previews)
        if before and (empty or not removal.chosen.keys() - last.keys()):  # the last portion was all, or nothing goes
            if not as_json:
                show(removal.told)
            return
        document["tiers"] = [before[one.tier].plus(one) if one.tier in before else one for one in previews]
        if not as_json:
            _show(previews, removal)
        whole = all(preview.complete for preview in previews)
        unseen = empty and whole
        if unseen and (dry_run or not removal.invalidates):
            raise No("nothing to remove: no tier has such an entry")
        if dry_run:
            return
        if not agreed(_question(previews, removal), yes=yes):
            say("the rest stays" if document["removed"] else "nothing was removed")
            return
        removed = _removed(removal)
        document["removed"] = None if removed is None else (document["removed"] or 0) + removed
        document["told"] = removal.told
        if not as_json:
            show(_done(removed, removal))
        if unseen:
            raise No("no tier has such an entry; what is being made, or is in the memory of processes, is a miss now")
        if whole or removal.invalidates:
            if not as_json:
                show(removal.told)
            return
        say("there are more: the next ones")
        last = removal.chosen


def _previews(removal: Removal, *, keep: bool) -> list[Preview]:
    with progress() as bar:
        task = bar.add_task("looked at", total=None, unit="entries")
        return removal.preview(keep=keep, progress=lambda count: bar.advance(task, count))


def _removed(removal: Removal) -> int | None:
    with progress() as bar:
        task = bar.add_task("removed", total=None, unit="entries")
        removed = removal.remove(lambda count: bar.advance(task, count))
    return removed if removal.counts else None


def _done(removed: int | None, removal: Removal) -> str:
    if removed is None:
        return "invalidated; they are misses from now on"
    return f"{counted(removed, 'key')} removed from all tiers"


def _question(previews: list[Preview], removal: Removal) -> str:
    most = max((preview.entries for preview in previews), default=0)
    about = "" if removal.chosen or all(preview.complete for preview in previews) else "at least "
    if removal.chosen and not removal.keys:
        return f"{removal.verb} {counted(len(removal.chosen), 'key')} ({removal.what})?"
    return f"{removal.verb} {about}{counted(most, 'entry')} ({removal.what})?"


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
