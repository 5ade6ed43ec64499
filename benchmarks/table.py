"""The figures for the eye: one line a comparison, and what they were measured on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from harness import Row
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

_COLOURS = {"ok": "green", "missed": "red", "info": "", "no figure": "yellow"}
_console = Console()
if not _console.is_terminal:
    _console = Console(width=150)  # a file has no width; eighty columns fold every name


@contextmanager
def progress(area: str) -> Iterator[Callable[[Row], None]]:
    """Show that the area is being measured, and what was last."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=_console, transient=True, disable=not _console.is_terminal) as bar:
        task = bar.add_task(f"{area} …")

        def show(row: Row) -> None:
            bar.update(task, description=f"{area}: {row.name}")

        yield show


def show(rows: Sequence[Row], about: dict[str, Any]) -> None:
    """Print the table, how many bounds hold, and the machine."""
    table = Table(title=f"tiercache beside its peers, {about['date']}", title_justify="left")
    table.add_column("what", min_width=40, overflow="fold")
    for heading in ("ours", "peer", "theirs", "ratio", "bound", "verdict"):
        table.add_column(heading, justify="right" if heading in ("ours", "theirs", "ratio") else "left", no_wrap=True)
    before = rows[0].area if rows else ""
    for row in rows:
        if row.area != before:
            table.add_section()
            before = row.area
        colour = _COLOURS[row.verdict]
        verdict = f"[{colour}]{row.verdict}[/]" if colour else row.verdict
        bound = str(row.bound) if row.bound else ""
        name = f"{row.name} [dim]({row.note})[/]" if row.note else row.name
        table.add_row(
            name, figure(row.ours, row.unit), row.peer, figure(row.theirs, row.unit), ratio(row), bound, verdict
        )
    _console.print(table)
    bounded = [row for row in rows if row.bound]
    _console.print(f"{sum(row.verdict == 'ok' for row in bounded)} of {len(bounded)} bounds hold.")
    _console.print(", ".join(f"{name} {value}" for name, value in about["machine"].items()))
    _console.print(", ".join(f"{name} {value}" for name, value in about["versions"].items()))
    if about["load"] is not None and about["load"] > 0.5:
        _console.print(f"[yellow]The machine was busy before (load {about['load']}): the figures are inflated.[/]")


def markdown(rows: Sequence[Row]) -> str:
    """Return the table for `docs/performance.md`."""
    lines = ["| what | ours | peer | theirs | ratio | bound | |", "|---|--:|---|--:|--:|---|---|"]
    for row in rows:
        name = f"{row.name} ({row.note})" if row.note else row.name
        verdict = {"ok": "ok", "missed": "**missed**", "info": "", "no figure": "no figure"}[row.verdict]
        cells = (name, figure(row.ours, row.unit), row.peer, figure(row.theirs, row.unit), ratio(row))
        lines.append(f"| {' | '.join(cells)} | {row.bound or ''} | {verdict} |")
    return "\n".join(lines) + "\n"


def ratio(row: Row) -> str:
    """Return the ratio as its bound says it."""
    if row.ratio is None:
        return ""
    if row.bound and row.bound.kind == "faster":
        return f"{1 / row.ratio:.1f}x faster"
    return f"{row.ratio:.2f}x" if row.ratio < 10 else f"{row.ratio:.1f}x"


def figure(value: float | None, unit: str) -> str:
    """Return a figure with its unit, in the unit that reads best."""
    if value is None:
        return ""
    if unit == "ns":
        for limit, scale, name in ((1e3, 1, "ns"), (1e6, 1e3, "µs"), (1e12, 1e6, "ms")):
            if value < limit:
                return f"{value / scale:.3g} {name}" if name != "ns" else f"{value:.0f} ns"
    if unit in ("commands", "requests", "computations"):
        return f"{value:,.3g}" if value < 100 else f"{value:,.0f}"
    return f"{value:.3g} {unit}" if unit == "ms" else f"{value:,.0f} {unit}"
