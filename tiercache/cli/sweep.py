"""`tiercache sweep`: delete what is expired or invalidated in the object stores of a chain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .failures import Mistake, No
from .output import AsJson, progress, say, show_json, show_table, size
from .source import Config, Namespace, Urls, opened

if TYPE_CHECKING:
    from ..cache import Cache
    from ..objectstore import SweepReport
    from ..packed import CompactionReport


def sweep(
    urls: Urls = None,
    config: Config = None,
    namespace: Namespace = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would go, and delete nothing.")] = False,
    max_requests: Annotated[int | None, typer.Option(min=3, help="Requests at most, for each tier.")] = None,
    state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where a budget ended is kept here, and gone on from next time.")
    ] = None,
    compact: Annotated[bool, typer.Option("--compact", help="Also merge small packed segments.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete this namespace's expired and invalidated objects in the object stores of the chain.

    The other tiers free what is expired by themselves. A lifecycle rule does the same once a day for nothing, but for
    what was invalidated. Several machines may sweep at the same time.

    Of packed segments it deletes, and --dry-run counts, those in which nothing is alive; --compact also frees what is
    dead in others.

    Exits with 1 when it is not finished.
    """
    if dry_run and compact:
        raise Mistake("--compact cannot be tried without doing it; leave out --dry-run, or --compact")
    with opened(urls, config, namespace) as cache:
        if not _sweepable(cache):
            raise Mistake("no tier of this cache is in an object store: the others free what is expired by themselves")
        reports = _swept(cache, dry_run=dry_run, max_requests=max_requests, resume=_resumed(state))
        compacted = (
            cache.compact(max_requests=None if max_requests is None else max(20, max_requests)) if compact else {}
        )
        left_out = [name for name in _sweepable(cache) if name not in reports]
    if state is not None and not dry_run:
        _keep(state, reports)
    if as_json:
        show_json({"dry_run": dry_run, "swept": reports, "compacted": compacted})
    else:
        _show(reports, compacted, dry_run=dry_run)
    for name in left_out:
        say(f"{name}: left out, as it cannot tell what would go without doing it", style="yellow")
    unfinished = [name for name, report in reports.items() if not report.complete]
    if unfinished:
        hint = (
            "sweep again to go on"
            if state is not None
            else "sweep again with more --max-requests, or with --state FILE"
        )
        raise No(f"not finished: {', '.join(unfinished)}; {hint}")


def _sweepable(cache: Cache) -> list[str]:
    from ..objectstore.sweep import is_sweepable

    return [tier.label for tier in cache.chain.tiers if tier.write != "never" and is_sweepable(tier.backend)]


def _swept(
    cache: Cache, *, dry_run: bool, max_requests: int | None, resume: Mapping[str, SweepReport]
) -> dict[str, SweepReport]:
    with progress() as bar:
        tasks: dict[str, Any] = {}

        def tell(tier: str, report: SweepReport) -> None:
            if tier not in tasks:
                tasks[tier] = bar.add_task(tier, total=None, unit="objects looked at")
            bar.update(tasks[tier], completed=report.examined)

        return cache.sweep(max_requests=max_requests, resume=resume, progress=tell, dry_run=dry_run)


def _resumed(state: Path | None) -> dict[str, SweepReport]:
    from ..objectstore import SweepReport

    if state is None or not state.exists():
        return {}
    try:
        tokens = json.loads(state.read_text("utf-8"))
        return {str(name): SweepReport(resume=str(token)) for name, token in tokens.items()}
    except (OSError, ValueError, AttributeError):
        raise Mistake(f"{state} is no state of a sweep: delete it, or name another file") from None


def _keep(state: Path, reports: Mapping[str, SweepReport]) -> None:
    tokens = {name: report.resume for name, report in reports.items() if report.resume is not None}
    try:
        state.write_text(json.dumps(tokens), "utf-8")
    except OSError as error:
        raise Mistake(f"{state} cannot be written: {error.strerror}") from None


def _show(reports: Mapping[str, SweepReport], compacted: Mapping[str, CompactionReport], *, dry_run: bool) -> None:
    numbers = ["looked at", "deleted", "freed", "left alone", "requests"]
    heads = ["tier", "looked at", "would go" if dry_run else "deleted", "freed", "left alone", "requests", "finished"]
    show_table(
        heads,
        [
            (
                name,
                f"{report.examined:,}",
                f"{report.deleted:,}",
                size(report.freed),
                f"{report.changed + report.unknown:,}",
                f"{report.requests:,}",
                "yes" if report.complete else "no",
            )
            for name, report in reports.items()
        ],
        numbers=[*numbers, "would go"],
    )
    for name, report in compacted.items():
        say(f"{name}: {report}")
