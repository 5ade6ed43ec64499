"""`tiercache stats`: what other processes count, each by itself and all together."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .failures import Mistake, No
from .output import AsJson, counted, duration, say, show, show_json, show_table, size, stdout
from .source import Config, Namespace, Urls, opened

if TYPE_CHECKING:
    from ..reports import Look, Report
    from ..stats import Stats, TierStats

SECONDS = 5.0
SILENT = (
    "no process reports here. A process does so every 10 s with TierChain(..., report=True), with `report = true` in "
    "[chain] of its TOML file, or with TIERCACHE_REPORT=1 beside TIERCACHE_URLS or TIERCACHE_CONFIG; give this command "
    "the same tiers (memory aside), namespace and keys"
)
_COLOURS = {"open": "red", "half-open": "yellow"}


def stats(
    urls: Urls = None,
    config: Config = None,
    namespace: Namespace = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again, until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks of --watch.")] = SECONDS,
    as_json: AsJson = False,
) -> None:
    """Sum up what the processes that use a cache report of themselves, per process, per tier and in all.

    A process reports with TierChain(..., report=True), every 10 s; one that ended is shown for a minute. With
    --namespace the figures of the caches are those of that namespace; those of the tiers are of the whole chain.

    Exits with 1 when no process reports.
    """
    if watch and as_json:
        raise Mistake("--watch is for people; leave out --json, or call it again and again")
    with opened(urls, config, namespace) as cache:
        while True:
            began = time.monotonic()
            found, silent = _seen(cache.chain, namespace)
            if watch and stdout().is_terminal:
                stdout().clear()
            if as_json:
                show_json(_document(found))
            elif found.reports:
                _show(found.reports)
            if found.unreadable:
                unreadable = counted(found.unreadable, "report")
                say(
                    f"{unreadable} cannot be read: sealed with keys that are not at hand (give [keys] or "
                    "TIERCACHE_KEYS), of another release, or damaged",
                    style="yellow",
                )
            if not watch:
                break
            if not found.reports:
                say(silent)
            took = time.monotonic() - began
            time.sleep(max(every, 4 * took))  # where a look is dear, as in a Redis of millions of keys, there are fewer
    if not found.reports:
        raise No(silent)


def _seen(chain: Any, namespace: str | None) -> tuple[Look, str]:
    """The reports, and what to say where there are none."""
    from ..reports import Look, look

    found = look(chain)
    if namespace is None or not found.reports:
        return found, SILENT
    own = [report.of(namespace) for report in found.reports]
    names = ", ".join(sorted({name for report in found.reports for name in report.namespaces}))
    silent = f"no process reports of the namespace {namespace!r}; there is {names or 'none so far'}"
    return Look([report for report in own if report is not None], found.unreadable), silent


def _document(found: Look) -> dict[str, Any]:
    from ..reports import total

    return {
        "processes": [
            {
                "id": report.id,
                "host": report.host,
                "pid": report.pid,
                "release": report.release,
                "started_at": report.started_at,
                "written_at": report.written_at,
                "ended": report.ended,
                "namespaces": report.namespaces,
                "stats": report.stats.as_dict(),
            }
            for report in found.reports
        ],
        "unreadable": found.unreadable,
        "total": total(found.reports).as_dict(),
    }


def _show(reports: list[Report]) -> None:
    from ..reports import total
    from .contents import printable

    together = total(reports)
    show_table(
        ["host", "pid", "namespaces", "hits", "misses", "rate", "errors", "breakers", "up", "told"],
        [_process(report) for report in reports],
        title=counted(len(reports), "process", "processes"),
        numbers=["pid", "hits", "misses", "rate", "errors", "up", "told"],
        styles={"ended": "dim"},
    )
    show_table(
        [
            "tier",
            "hits",
            "misses",
            "rate",
            "puts",
            "read p50",
            "p99",
            "write p99",
            "errors",
            "breaker",
            "switch",
            "entries",
            "bytes",
        ],
        [_tier(name, tier) for name, tier in together.tiers.items()],
        title="tiers, of all processes",
        numbers=["hits", "misses", "rate", "puts", "read p50", "p99", "write p99", "errors", "entries", "bytes"],
        styles=_COLOURS,
    )
    for name, tier in together.tiers.items():
        if compared := tier.shadow_equal + tier.shadow_different + tier.shadow_absent:
            show(
                f"{printable(name)} in shadow: of {compared:,} compared {tier.shadow_equal:,} equal, "
                f"{tier.shadow_different:,} different, {tier.shadow_absent:,} absent"
            )
    hits, misses = counted(together.hits, "hit"), counted(together.misses, "miss", "misses")
    show(f"in all: {hits}, {misses}, {together.hit_rate:.1%}{_saved(together)}")


def _process(report: Report) -> list[object]:
    from .contents import printable

    stats = report.stats
    away = [name for name, now in report.now.items() if now.breaker not in (None, "closed")]
    return [
        printable(report.host),
        report.pid,
        printable(" ".join(report.namespaces)),
        f"{stats.hits:,}",
        f"{stats.misses:,}",
        f"{stats.hit_rate:.1%}",
        f"{sum(stats.errors.values()):,}",
        printable(" ".join(f"{name} open" for name in away)),
        duration(report.written_at - report.started_at),
        "ended" if report.ended else f"{duration(max(0.0, time.time() - report.written_at))} ago",
    ]


def _tier(name: str, tier: TierStats) -> list[object]:
    from .contents import printable

    errors = ", ".join(f"{count:,} {kind}" for kind, count in sorted(tier.errors.items()))
    return [
        printable(name),
        f"{tier.hits:,}",
        f"{tier.misses:,}",
        f"{tier.hit_rate:.1%}",
        f"{tier.puts:,}",
        *(None if seconds is None else duration(seconds) for seconds in (tier.read.p50, tier.read.p99, tier.write.p99)),
        printable(errors) or "0",
        tier.breaker,
        printable(tier.switch),
        None if tier.entries is None else f"{tier.entries:,}",
        None if tier.bytes is None else size(tier.bytes),
    ]


def _saved(stats: Stats) -> str:
    saved = stats.savings.total
    if not saved.calls:
        return ""
    unpriced = f" ({counted(saved.unpriced, 'call')} of unknown price)" if saved.unpriced else ""
    tokens = counted(saved.input_tokens + saved.output_tokens, "token")
    return f"; saved {counted(saved.calls, 'call')}, {tokens}, ${saved.usd:,.2f}{unpriced}"
