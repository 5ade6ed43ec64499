"""What the demo prints: progress, a table per tier, objects as HEADs show them; plain when no terminal reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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


def print_tiers(console: Console, act: Mapping[str, Any]) -> None:
    """Print a row for each tier of one process: what it answered, what it holds, how long its reads took."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("tier", style="bold")
    for heading in ("hits", "misses", "promoted", "entries", "held", "read p50", "read p99"):
        table.add_column(heading, justify="right")
    for name, tier in act["tiers"].items():
        counted = [str(tier[field]) for field in ("hits", "misses", "promotions")]
        held = act["held"][name]
        reads = [duration(tier["read"][share]) for share in ("p50", "p99")]
        table.add_row(name, *counted, str(held["entries"]), size(held["bytes"]), *reads)
    console.print(table)
    console.print(f"  (promoted: copied up into this tier; a read: a batch of up to {act['batch']} texts)")


def print_model(console: Console, act: Mapping[str, Any]) -> None:
    """Print what the model did, and what it was spared, according to `EmbeddingCache.stats()`."""
    model = act["model"]
    spared = act["batches"] - model["calls"]
    console.print(f"  model:  {model['computed']} texts in {model['calls']} calls, {duration(model['seconds'])}")
    console.print(f"  saved:  {model['hits']} texts in {spared} calls, {duration(model['seconds_saved'])}")


def print_objects(console: Console, objects: Mapping[str, Mapping[str, Any]], *, shown: int) -> None:
    """Print some objects as a HEAD describes them, and one of these answers in full."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("object", style="bold", no_wrap=True)
    table.add_column("size", justify="right")
    table.add_column("storage class")
    table.add_column("codec")
    table.add_column("computed in", justify="right")
    some = list(objects.items())[:shown]
    for name, head in some:
        cells = [size(head["ContentLength"]), storage_class(head), head["Metadata"].get("codec", "–")]
        table.add_row(shortened(name), *cells, duration(attributes(head).get("seconds")))
    console.print(table)
    for name, head in some[:1]:
        console.print(f"  {name.rpartition(':')[0]}:{shortened(name)} in full:", soft_wrap=True)
        told = {"content-type": head["ContentType"]} | dict(sorted(head["Metadata"].items()))
        for field, value in told.items():
            console.print(Text(f"    {field:19}{value}"), soft_wrap=True)


def print_total(
    console: Console, acts: Sequence[Mapping[str, Any]], objects: Mapping[str, Mapping[str, Any]], *, store: str
) -> None:
    """Print what all processes together asked, spent and saved, and what they left behind."""
    fields = acts[0]["model"]
    model = {field: sum(act["model"][field] for act in acts) for field in fields}
    spared = sum(act["batches"] for act in acts) - model["calls"]
    stored = sum(head["ContentLength"] for head in objects.values())
    console.print(f"  asked for  {model['inputs']} texts: {model['computed']} computed, {model['hits']} from the cache")
    console.print(f"  the model  {model['calls']} calls, {duration(model['seconds'])}")
    console.print(f"  saved      {spared} calls, {duration(model['seconds_saved'])}")
    console.print(f"  {store} holds {len(objects)} objects, {size(stored)}")


def attributes(head: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an entry from the metadata of its object."""
    found: dict[str, Any] = json.loads(head["Metadata"].get("attributes", "{}"))
    return found


def storage_class(head: Mapping[str, Any]) -> str:
    """Return the storage class of a HEAD, which S3 leaves out when it is STANDARD."""
    return str(head.get("StorageClass", "STANDARD"))


def shortened(name: str) -> str:
    """Return the digest in an object's name, its middle left out."""
    digest = name.rpartition(":")[2]
    return f"{digest[:6]}…{digest[-4:]}"


def counts(answered: Mapping[str, int]) -> str:
    """Return `model 3 · memory 0 · s3 100`."""
    return " · ".join(f"{who} {count}" for who, count in answered.items())


def duration(seconds: float | None) -> str:
    """Return seconds with two digits or more, in the unit that suits them."""
    if seconds is None:
        return "–"
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.1f} {unit}"
    return f"{seconds * 1e6:.0f} µs"


def size(count: float) -> str:
    """Return bytes in the unit that suits them."""
    return f"{count:.0f} B" if count < 10_000 else f"{count / 1024:.0f} KiB"
