"""`tiercache plan`: from access logs to sizes, classes and lives, as a table, JSON, plots and a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .failures import Mistake
from .output import AsJson, counted, progress, say, show, show_json, show_table, size

if TYPE_CHECKING:
    from ..planning import Plan

_SHOWN = 8  # classes and layouts of the table; JSON has all


def plan(
    logs: Annotated[list[Path], typer.Argument(help="Access logs of one cache: CSV or JSON lines, also gzip or zstd.")],
    html: Annotated[Path | None, typer.Option(help="Write one self-contained HTML report to this file.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Write the plots to this directory, as PNG and SVG.")] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="Where a field stands: time=timestamp, or time=0 without a header. May be repeated."),
    ] = None,
    policy: Annotated[list[str] | None, typer.Option(help="Eviction policy to try; repeat it. [default: all]")] = None,
    sizes: Annotated[str | None, typer.Option(help="Memory sizes to try, such as 64MiB,256MiB,1GiB.")] = None,
    memory: Annotated[
        str | None, typer.Option(help="Plan the tiers with this memory, not the recommended one.")
    ] = None,
    redis: Annotated[str | None, typer.Option(help="Plan with a Redis of this size. [default: 4 times memory]")] = None,
    ttl: Annotated[str | None, typer.Option(help="How long entries live of which the log does not say it.")] = None,
    store: Annotated[str, typer.Option(help="The object store whose classes are compared: s3, gs or az.")] = "s3",
    processes: Annotated[int, typer.Option(min=1, help="Processes that have a memory tier each.")] = 1,
    segment: Annotated[str, typer.Option(help="Bytes of a packed segment.")] = "8MiB",
    memory_price: Annotated[float, typer.Option(min=0, help="US dollars for a GiB of RAM and month.")] = 4.0,
    redis_price: Annotated[float, typer.Option(min=0, help="US dollars for a GiB of Redis and month.")] = 12.0,
    miss_cost: Annotated[float | None, typer.Option(min=0, help="US dollars that computing a value costs.")] = None,
    most: Annotated[
        int, typer.Option("--max-requests", min=1000, help="Accesses to simulate; more are sampled by their keys.")
    ] = 1_000_000,
    as_json: AsJson = False,
) -> None:
    """Tell from access logs which memory, Redis, storage class and TTL suit a cache.

    A log has lines of time, key and size; a cache writes one with TierChain(…, record="accesses.csv").

    Hit ratios by memory size come from running the log through the eviction policies of the memory tier; costs are
    list prices, a month at the pace of the log. Prices of RAM and Redis are assumptions: say yours. A log of fewer than
    1,000 reads, or of less than a day, gets cautions: on stderr, in the report, and in JSON.
    """
    from ..planning import Assumptions
    from ..planning import plan as planned
    from ..units import parse_size

    assumed = Assumptions(
        memory_price=memory_price,
        redis_price=redis_price,
        processes=processes,
        store=store,
        segment=segment,
        miss_cost=miss_cost,
    )
    if html or plots:
        from ..planning.figures import check

        check()
    tasks: dict[str, Any] = {}
    with progress() as bar:

        def moved(step: str, done: int, whole: int) -> None:
            if step not in tasks:
                tasks[step] = bar.add_task(step, total=whole, unit="bytes" if step == "reading" else "runs")
            bar.update(tasks[step], completed=done, total=whole)

        try:
            found = planned(
                logs,
                assumptions=assumed,
                policies=_policies(policy),
                sizes=None if sizes is None else sorted(parse_size(one, "sizes") for one in sizes.split(",")),
                memory_bytes=None if memory is None else parse_size(memory, "memory"),
                redis_bytes=None if redis is None else parse_size(redis, "redis"),
                columns=_columns(column),
                ttl=ttl,
                most=most,
                progress=moved,
            )
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise Mistake(f"{error.filename or 'the log'} cannot be read: {why}; check its path") from None
    if found.log.told:
        say(found.log.told, style="yellow")
    for sentence in found.cautions:
        say(f"caution: {sentence}", style="yellow")
    try:
        _write(found, html, plots)
    except OSError as error:
        raise Mistake(f"the report cannot be written: {error.strerror or type(error).__name__}") from None
    if as_json:
        show_json(found.as_json())
    else:
        _show(found)


def _policies(chosen: list[str] | None) -> list[Any]:
    from ..eviction import EvictionPolicy

    try:
        return [EvictionPolicy(one) for one in dict.fromkeys(chosen)] if chosen else list(EvictionPolicy)
    except ValueError:
        raise Mistake(f"--policy must be one of {', '.join(EvictionPolicy)}") from None


def _columns(chosen: list[str] | None) -> dict[str, str]:
    columns: dict[str, str] = {}
    for one in chosen or ():
        field, _, place = one.partition("=")
        if not place:
            raise Mistake("--column needs a field and its place, as in --column time=timestamp or --column key=1")
        columns[field] = place
    return columns


def _write(found: Plan, html: Path | None, plots: Path | None) -> None:
    if plots is not None:
        from ..planning.figures import write_plots

        for path in write_plots(found, plots):
            say(f"wrote {path}")
    if html is not None:
        from ..planning.page import page

        html.write_text(page(found), encoding="utf-8")
        say(f"wrote {html}")


def _show(found: Plan) -> None:
    from ..planning.advice import shown_seconds

    log = found.log
    reads, keys, span = counted(log.reads, "read"), counted(log.entries, "key"), shown_seconds(log.span)
    short = f" (from a short log: {reads} in {span})" if found.cautions else ""
    show(
        f"{reads} of about {keys} in {span}; all of them take {size(round(log.footprint))} of memory, and then "
        f"{log.can_hit:.1%} are hits."
    )
    if log.rate < 1:
        worst = max(max(curve.error) for curve in found.curves)
        show(f"Simulated: {log.rate:.2%} of the keys; hit ratios are within {worst * 100:.1f} points (two sigma).")
    show("")
    best = found.memory.policy
    show_table(
        ["memory", *(curve.policy for curve in found.curves)],
        [
            [size(bytes_), *(f"{curve.hit_ratio[place]:.1%}" for curve in found.curves)]
            for place, bytes_ in enumerate(found.curves[0].sizes)
        ],
        title=f"Hits of all reads, by eviction policy (recommended: {best}){short}",
        numbers=["memory", *(curve.policy for curve in found.curves)],
    )
    show_table(
        ["tier", "reads", "hits", "hit ratio", "writes"],
        [
            [
                one.tier,
                f"{one.reads:,.0f}",
                f"{one.hits:,.0f}",
                f"{one.hits / one.reads:.1%}" if one.reads else "",
                f"{one.writes:,.0f}",
            ]
            for one in found.tiers.tiers
        ],
        title=f"A month, with memory, Redis and a store{short}",
        numbers=["reads", "hits", "hit ratio", "writes"],
    )
    show_table(
        ["class", "layout", "storage", "requests", "other", "a month", "note"],
        [
            [
                one.storage_class,
                one.layout,
                *map(_usd, (one.storage, one.requests, one.other)),
                ("about " if one.is_estimate else "") + _usd(one.total),
                one.note.split(";")[0],
            ]
            for one in found.classes[:_SHOWN]
        ],
        title=f"The store's cost, memory before it, the cheapest {min(_SHOWN, len(found.classes))}{short}",
        numbers=["storage", "requests", "other", "a month"],
    )
    for sentence in found.advice:
        show(sentence)


def _usd(amount: float) -> str:
    from ..pricing import dollars

    return dollars(amount)
