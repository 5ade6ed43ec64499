"""`tiercache bench`: how quick this chain is, as configured, tier by tier and as a whole."""

from __future__ import annotations

from typing import Annotated

import typer

from .failures import Mistake
from .output import AsJson, counted, duration, progress, show, show_json, show_table
from .source import Config, Namespace, Urls, opened


def bench(
    urls: Urls = None,
    config: Config = None,
    namespace: Namespace = None,
    size: Annotated[str, typer.Option(help="Of a value, such as 6KiB (a vector of 1,536 float32).")] = "6KiB",
    calls: Annotated[int, typer.Option(min=1, help="Of each operation, at most.")] = 300,
    seconds: Annotated[float, typer.Option(min=0.01, help="For each operation, at most.")] = 2.0,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="Entries of set_many and get_many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Measure this chain, as configured: sets, hits, misses and batches, on each tier by itself and on the chain.

    One caller, one call after the other. It writes entries of its own, in a namespace of its own, and deletes them.
    In an object store every call is billed: 300 calls of each operation are about a cent.
    """
    from ..errors import ConfigurationError
    from ..units import parse_size
    from .measuring import Row, measure
    from .measuring.runs import Plan

    try:
        plan = Plan(calls, seconds, parse_size(size, "--size"), batch)
    except ConfigurationError as error:
        raise Mistake(str(error)) from None
    rows: list[Row] = []
    with opened(urls, config, namespace, makes=True) as cache, progress() as bar:
        task = bar.add_task("measuring", total=None, unit="rows")
        for row in measure(cache, plan, lambda name: bar.update(task, description=name)):
            rows.append(row)
            bar.advance(task)
    if as_json:
        show_json({"size": plan.size, "batch": batch, "rows": rows})
        return
    show_table(
        ["tier", "operation", "calls", "p50", "p99", "CPU", "entries/s", "requests"],
        [
            (
                row.tier,
                row.operation if row.entries == 1 else f"{row.operation} of {row.entries:,}",
                f"{row.calls:,}",
                duration(row.p50),
                duration(row.p99),
                duration(row.cpu),
                f"{row.per_second:,.0f}",
                None if row.requests is None else f"{row.requests:.3g}",
            )
            for row in rows
        ],
        numbers=["calls", "p50", "p99", "CPU", "entries/s", "requests"],
    )
    show(f"values of {counted(plan.size, 'byte')}; p50, p99 and CPU of a call; requests to the object store a call")
