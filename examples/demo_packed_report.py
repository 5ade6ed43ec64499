"""What `demo_packed.py` prints: each step both ways, and what both cost a month by the price lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from demo_report import duration, size
from rich import box
from rich.console import Console
from rich.table import Table

from tiercache.pricing import discovery_cost, dollars, monthly_cost
from tiercache_s3 import S3Backend

WAYS = {"packed": "packed", "single": "one object each"}
SEGMENT = "8MiB"
MANY = 1_000_000


def print_steps(console: Console, steps: Mapping[str, Any], count: int, misses: int) -> None:
    """Print requests, CPU and time of each step, both ways."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", style="bold")
    table.add_column("kept")
    for heading in ("requests", "CPU", "CPU each", "time"):
        table.add_column(heading, justify="right")
    labels = {
        "store": (f"store {count:,}", count),
        "read": (f"read {count:,}", count),
        "miss": (f"{misses:,} misses", misses),
    }
    for step, (label, each) in labels.items():
        for way, name in WAYS.items():
            figures = steps[f"{step} {way}"]
            requests = " ".join(f"{number:,} {method}" for method, number in sorted(figures["requests"].items()))
            cpu = figures["cpu"]
            row = (label, name, requests or "none", duration(cpu), duration(cpu / each), duration(figures["wall"]))
            table.add_row(*row, end_section=way == "single")
    console.print(table)


def print_bytes(console: Console, sizes: Mapping[str, int]) -> None:
    """Print how many objects the bucket holds, and their bytes, both ways."""
    segments = {name: bytes_ for name, bytes_ in sizes.items() if "_segments/" in name}
    packed, single = sum(segments.values()), sum(sizes.values()) - sum(segments.values())
    console.print(
        f"  packed: {len(segments)} objects, {size(packed)}; one by one: {len(sizes) - len(segments):,}, {size(single)}"
    )


def print_dollars(console: Console, *, entries: int, entry_bytes: int) -> None:
    """Print what a month costs in S3 STANDARD, each entry written and read once, at list prices."""
    rules = S3Backend.rules["STANDARD"]
    looks = dollars(discovery_cost(rules).total)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("entries", style="bold", justify="right")
    table.add_column("kept")
    for heading in ("PUTs", "GETs", "storage", "in all"):
        table.add_column(heading, justify="right")
    for number in (entries, MANY):
        for way, name in WAYS.items():
            packed = SEGMENT if way == "packed" else None
            cost = monthly_cost(rules, entries=number, size=entry_bytes, reads=number, segment=packed)
            amounts = [dollars(amount) for amount in (cost.writes, cost.reads, cost.storage, cost.total)]
            table.add_row(f"{number:,}", name, *amounts, end_section=way == "single")
    console.print(table)
    console.print(f"  (a month in S3 STANDARD at list prices, entries of {size(entry_bytes)} written and read once,")
    console.print("  each by itself. A miss is a GET one by one, and nothing packed. There a process in use looks")
    console.print(f"  for segments each minute: {looks})")
