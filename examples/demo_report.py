"""What the demo prints: progress, a table per tier, objects in S3; plain text when no terminal reads it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text


def make_console() -> Console:
    """Return a console that escapes what the output's encoding cannot say (a pipe on Windows, say)."""
    console = Console(highlight=False)
    reconfigure = getattr(console.file, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    return console


def progress_bar(console: Console) -> Progress:
    """Return a progress bar; without a terminal only its last state is printed."""
    return Progress(
        TextColumn("  {task.description}"), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )


def print_tiers(console: Console, result: Mapping[str, Any]) -> None:
    """Print a row for each tier of one process: what it answered, what it holds, how long its reads took."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left", title_style="")
    table.title = f"  the tiers of this process (a read is a batch of up to {result['batch']} texts)"
    table.add_column("tier", style="bold")
    for heading in ("hits", "misses", "promoted into", "entries", "held", "read p50", "read p99"):
        table.add_column(heading, justify="right")
    for name, tier in result["tiers"].items():
        counts = [str(tier[field]) for field in ("hits", "misses", "promotions")]
        held = result["held"][name]
        reads = [duration(tier["read"]["p50"]), duration(tier["read"]["p99"])]
        table.add_row(name, *counts, str(held["entries"]), size(held["bytes"]), *reads)
    console.print(table)


def print_model(console: Console, model: Mapping[str, float]) -> None:
    """Print what the model did, and what it was spared, according to `EmbeddingCache.stats()`."""
    console.print(
        f"  model: {model['computed']} texts in {model['calls']} calls, {duration(model['seconds'])}; "
        f"the cache answered {model['hits']} and saved {duration(model['seconds_saved'])}"
    )


def print_objects(console: Console, objects: Mapping[str, Mapping[str, Any]], shown: int) -> None:
    """Print some S3 objects as a HEAD describes them, and one of these answers in full."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("object", style="bold", no_wrap=True)
    table.add_column("size", justify="right")
    for heading in ("storage class", "codec"):
        table.add_column(heading)
    table.add_column("computed in", justify="right")
    for name, head in list(objects.items())[:shown]:
        seconds = attributes(head).get("seconds")
        row = [size(head["ContentLength"]), storage_class(head), head["Metadata"].get("codec", ""), duration(seconds)]
        table.add_row(shortened(name), *row)
    console.print(table)
    for name, head in list(objects.items())[:1]:
        console.print(f"  HEAD of {shortened(name)}, {head['ContentType']}:")
        for field, value in sorted(head["Metadata"].items()):
            console.print(Text(f"    {field:18}{value}"))


def print_total(
    console: Console, acts: Sequence[Mapping[str, float]], objects: Mapping[str, Mapping[str, Any]]
) -> None:
    """Print what all processes together asked, spent and saved, and what they left behind."""
    total = {field: sum(act[field] for act in acts) for field in ("inputs", "computed", "seconds", "seconds_saved")}
    stored = sum(head["ContentLength"] for head in objects.values())
    console.print(
        f"  {total['inputs']} texts asked for, {total['computed']} computed: {duration(total['seconds'])} of the model, "
        f"{duration(total['seconds_saved'])} saved; {len(objects)} objects, {size(stored)}"
    )


def attributes(head: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an entry from the metadata of its object."""
    found: dict[str, Any] = json.loads(head["Metadata"].get("attributes", "{}"))
    return found


def storage_class(head: Mapping[str, Any]) -> str:
    """Return the storage class of a HEAD, which S3 leaves out when it is STANDARD."""
    return str(head.get("StorageClass", "STANDARD"))


def shortened(name: str) -> str:
    """Return an object's name with the middle of its digest left out."""
    return f"{name[:-58]}…{name[-4:]}" if len(name) > 70 else name


def counts(answered: Iterable[tuple[str, int]]) -> str:
    """Return `model 3 · memory 0 · s3 100`."""
    return " · ".join(f"{who} {count}" for who, count in answered)


def duration(seconds: float | None) -> str:
    """Return seconds with two digits or more, in the unit that suits them."""
    if seconds is None or math.isnan(seconds):
        return "–"
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.1f} {unit}"
    return f"{seconds * 1e6:.0f} µs"


def size(count: float) -> str:
    """Return bytes in the unit that suits them."""
    return f"{count:.0f} B" if count < 10_000 else f"{count / 1024:.0f} KiB"
