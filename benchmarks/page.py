"""The tables of `docs/performance.md`, from the figures in `docs/performance.json`.

A row in which a peer wins must say what the peer does less: where it does not, no table is made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import figures

PAGE = figures.ROOT / "docs" / "performance.md"
_BLOCK = re.compile(r"(<!-- table: (bench-\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
Row = Mapping[str, Any]

# What those do less that the tables of bounds compare us with: most of them are floors, not caches.
FLOORS = {
    "dict.get": "a dict: no expiry, no bound, no order by use, no counters, no copy of what is handed out",
    "dict": "a dict: keeps no times, no size, no tags, no order by use",
    "OrderedDict": "no expiry, no counters, no copy",
    "cachebox LRU": "compiled; no expiry, no counters",
    "cachebox VTTL": "compiled; no order by use, no counters",
    "cachetools LRU": "no expiry, no counters, not safe for threads without a lock",
    "redis.Redis.get": "one command and its bytes: nothing is checked, decoded, promoted or bounded in time",
    "redis.asyncio.Redis.get": "one command and its bytes: nothing is checked, decoded, promoted or bounded in time",
    "redis.Redis.mget": "one command and its bytes: nothing is checked, decoded or promoted",
    "boto3 get_object": "one request and its bytes: nothing is checked, decoded or promoted; it blocks",
    "Blob.download_as_bytes": "one request and its bytes: nothing is decoded, bounded in time or promoted; it blocks",
    "download_blob().readall()": "one request and its bytes: nothing is checked, decoded or promoted; it blocks",
    "diskcache": "no checksum, no fence against late writes, pickles, a bound by bytes that is not exact",
    "numpy.stack of a dict's": "a dict of arrays: no keys are made of texts, nothing is checked or counted",
    "OpenAI, answered at once": "no cache: an answer that is there already",
    "a shared asyncio.Task": "a task in a dict: no lease, no store, no fence, no sync callers",
    "without": "the same call without it",
    "not telling": "the same call, of which no other process hears",
}
_ITSELF = ("in 10,000",)
"""Not peers: our own figure, at another size."""


def write() -> None:
    """Write the tables into the page; `scripts/tables.py --check` finds out whether somebody did."""
    text = PAGE.read_text(encoding="utf-8")
    made = _BLOCK.sub(lambda block: f"{block[1]}{TABLES[block[2]]()}\n{block[4]}", text)
    PAGE.write_text(made, encoding="utf-8")


class Unexplained(Exception):
    """A peer wins a row, and nothing says what it does less."""


def wins(row: Row) -> bool:
    """Whether the peer takes less of what is measured, time or CPU."""
    return max(row.get("ratio") or 0, row.get("cpu_ratio") or 0) > 1 and row.get("peer") not in _ITSELF


def explanation(row: Row) -> str:
    """Return what the peer does less where it wins, else nothing; raise where that is not said."""
    if not wins(row):
        return ""
    said = row.get("less") or FLOORS.get(row["peer"]) or row.get("note")
    if not said:
        raise Unexplained(f"{row['name']}: {row['peer']} wins, and nothing says what it does less")
    return str(said)


def about() -> str:
    """On what, with what, and when all this was measured."""
    measured: dict[str, list[str]] = {}
    for name, area in figures.read()["areas"].items():
        machine = area["machine"]
        busy = f", load before {area['load']:g}" if (area.get("load") or 0) > 0.5 else ""
        host = f"{machine['system']}, {machine['cpus']} CPUs ({machine['processor']}), Python {machine['python']}"
        where = f"{area['date']}, {host}"
        measured.setdefault(f"{where}{busy}{', the quick run' if area['quick'] else ''}", []).append(name)
    lines = [
        f"- {where}: {'everything' if len(measured) == 1 else ', '.join(names)}" for where, names in measured.items()
    ]
    versions: dict[str, str] = {}
    for area in figures.read()["areas"].values():
        versions |= area["versions"]
    lines.append(f"- {', '.join(f'{name} {version}' for name, version in versions.items())}")
    return "\n".join(lines)


class Reasons:
    """What peers do less, each thing said once below the table and by its number in it."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def numbers(self, row: Row) -> str:
        """Return the numbers for a row; none where the peer does not win."""
        said = [part.strip() for part in explanation(row).split(";")]
        found = sorted(self._numbers.setdefault(part, len(self._numbers) + 1) for part in said if part)
        return ", ".join(map(str, found))

    def __str__(self) -> str:
        lines = [f"{number}. {said}" for said, number in self._numbers.items()]
        return "\n".join(["", "Where a peer wins, it", "", *lines]) if lines else ""


def beside(tier: str) -> str:
    """The jobs of one tier, a row for each peer; what they do less stands below."""
    heads = ("job", "peer", "ours", "theirs", "ratio", "CPU: ours", "theirs", "ratio", "less")
    reasons, cells, before = Reasons(), [], ""
    for row in _rows("beside"):
        if row.get("tier") == tier:
            job = _job(row)
            cells.append(_beside(row, "" if job == before else job, reasons.numbers(row)))
            before = job
    return _table(heads, cells, "llrrrrrrl") + f"\n{reasons}".rstrip()


def _job(row: Row) -> str:
    return str(row["name"]).removeprefix(f"{row['tier']}: ")


def _beside(row: Row, job: str, less: str) -> tuple[str, ...]:
    ours, cpu = (f"{_time(row['ours'])}", f"{_time(row['cpu_ours'])}") if job else ("", "")
    theirs, cpu_theirs = _time(row["theirs"]), _time(row["cpu_theirs"])
    return (job, row["peer"], ours, theirs, _ratio(row["ratio"]), cpu, cpu_theirs, _ratio(row["cpu_ratio"]), less)


def grown() -> str:
    """A hit in growing memory caches, a row for each."""
    rows = [row for row in _rows("beside") if row.get("job") == "growth"]
    sizes = sorted({row["callers"] for row in rows})
    lines: dict[str, list[str]] = {}
    reasons, why = Reasons(), dict[str, str]()
    for row in rows:
        ours = f"**tiercache**, {row['face']}"
        lines.setdefault(ours, [""] * len(sizes))[sizes.index(row["callers"])] = _time(row["cpu_ours"])
        theirs = f"{row['peer']}, {row['face']}"
        lines.setdefault(theirs, [""] * len(sizes))[sizes.index(row["callers"])] = _time(row["cpu_theirs"])
        why[theirs] = why.get(theirs) or reasons.numbers(row)
    heads = ("CPU of a hit", *(f"{size:,}" for size in sizes), "less")
    return (
        _table(
            heads, ((name, *cells, why.get(name, "")) for name, cells in lines.items()), "l" + "r" * len(sizes) + "l"
        )
        + f"\n{reasons}".rstrip()
    )


def footprint() -> str:
    """What an entry takes in memory, a row for each cache."""
    rows = [row for row in _rows("beside") if row.get("job") == "bytes"]
    biggest = max((row["callers"] for row in rows), default=0)
    rows, reasons = [row for row in rows if row["callers"] == biggest], Reasons()
    cells = [(row["peer"], f"{row['theirs']:,.0f}", _ratio(row["ratio"]), reasons.numbers(row)) for row in rows]
    if rows:
        cells.insert(0, ("**tiercache**", f"{rows[0]['ours']:,.0f}", "", ""))
    return _table((f"{biggest:,} entries", "bytes an entry", "ratio", "less"), cells, "lrrl") + f"\n{reasons}".rstrip()


def bounds() -> str:
    """What the design promises, and what came of it."""
    heads = ("what", "ours", "peer", "theirs", "ratio", "bound", "")
    rows = [row for row in _rows() if row["area"] != "beside" and row.get("bound")]
    return _table(heads, map(_bounded, rows), "lrlrrll")


def others() -> str:
    """The rows without a bound that the areas measure beside those with one."""
    heads = ("what", "ours", "peer", "theirs", "ratio", "where it wins, it")
    rows = [row for row in _rows() if row["area"] != "beside" and not row.get("bound")]
    return _table(heads, ((*_bounded(row)[:5], explanation(row)) for row in rows), "lrlrrl")


def _bounded(row: Row) -> tuple[str, ...]:
    name = f"{row['name']} ({row['note']})" if row.get("note") else row["name"]
    ratio = row.get("ratio")
    faster = ratio and str(row.get("bound", "")).endswith("faster")
    verdict = {"ok": "ok", "missed": f"**missed**; {explanation(row)}".rstrip("; ")}.get(row.get("verdict", ""), "")
    return (
        name,
        _figure(row.get("ours"), row.get("unit", "")),
        row.get("peer", ""),
        _figure(row.get("theirs"), row.get("unit", "")),
        f"{1 / ratio:.1f}x faster" if faster else _ratio(ratio),
        row.get("bound", ""),
        verdict if row.get("ours") is not None else "no figure",
    )


def _rows(area: str = "") -> list[Row]:
    """Return the rows of all areas, or of those whose name begins so."""
    found = figures.read()["areas"].items()
    return [row for name, one in found if name.startswith(area) for row in one["rows"] if not area or "tier" in row]


def _time(value: float | None) -> str:
    return _figure(value, "ns")


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit == "ns":
        for limit, scale, name in ((1e3, 1, "ns"), (1e6, 1e3, "µs"), (1e9, 1e6, "ms")):
            if value < limit:
                return f"{value / scale:.3g} {name}"
        return f"{value / 1e9:.3g} s"
    if unit in ("commands", "requests", "computations"):
        return f"{value:,.3g}" if value < 100 else f"{value:,.0f}"
    return f"{value:.3g} {unit}" if value < 10 else f"{value:,.0f} {unit}"


def _ratio(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}x" if value < 10 else f"{value:,.0f}x"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]], sides: str) -> str:
    lines = [list(heads), [{"l": "---", "r": "--:"}[side] for side in sides], *(list(row) for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


TIERS = {"memory": "memory", "disk": "disk", "redis": "Redis", "s3": "S3", "http": "HTTP", "langchain": "LangChain"}
TABLES: dict[str, Callable[[], str]] = {
    "bench-about": about,
    **{f"bench-{name}": partial(beside, tier) for name, tier in TIERS.items()},
    "bench-growth": grown,
    "bench-footprint": footprint,
    "bench-bounds": bounds,
    "bench-others": others,
}
