"""The plots of `docs/performance.md`: SVG, from the figures in `docs/performance.json`.

python benchmarks/plots.py [png]    # redraw them, without measuring; `png`: as PNG as well, to look at
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import figures
import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, NullFormatter

Row = Mapping[str, Any]
Lines = dict[str, list[tuple[float, float]]]
DIRECTORY = figures.ROOT / "docs" / "images"
OURS = "tiercache"
_BLUE, _GREY, _INK = "#0072B2", "#9AA0A6", "#333333"
_PALETTE = ("#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#7F6A00", "#6B4C9A", "#8C564B", "#555555")
"""Okabe and Ito's colours, told apart by colour-blind eyes, and four more; ours is blue and thick."""
_STYLE = {
    "font.size": 8.5,
    "font.family": "sans-serif",
    "text.color": _INK,
    "axes.edgecolor": "#CCCCCC",
    "axes.labelcolor": _INK,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "svg.hashsalt": "tiercache",  # the same figures make the same file
    "svg.fonttype": "path",
    "figure.facecolor": "white",
}


def draw(found: figures.Figures, png: Path | None = None) -> None:
    """Write every plot that there are figures for."""
    DIRECTORY.mkdir(exist_ok=True)
    rows = [row for area in found["areas"].values() for row in area["rows"] if row.get("tier")]
    with plt.rc_context(_STYLE):
        for name, make in {"hits": hits, "growth": growth, "callers": callers, "footprint": footprint}.items():
            figure = make(rows)
            if figure is None:
                continue
            figure.savefig(DIRECTORY / f"performance-{name}.svg", metadata={"Date": None})
            if png is not None:
                figure.savefig(png / f"performance-{name}.png", dpi=110)
            plt.close(figure)


def hits(rows: Sequence[Row]) -> Any:
    """A hit in each tier, wall time, a bar for each cache."""
    tiers = {tier: _bars(rows, tier) for tier in ("memory", "disk", "Redis", "S3")}
    tiers = {tier: bars for tier, bars in tiers.items() if bars}
    if not tiers:
        return None
    heights = [len(bars) + 1.6 for bars in tiers.values()]
    figure, axes = plt.subplots(
        len(tiers),
        figsize=(7.6, 0.185 * sum(heights) + 0.5),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for axis, (tier, bars) in zip(axes[:, 0], tiers.items(), strict=True):
        _barh(axis, bars, _time, f"{tier}: a hit, a chat answer of 1.6 kB (time, logarithmic)")
    return figure


def _bars(rows: Sequence[Row], tier: str) -> list[tuple[str, float]]:
    found: dict[str, float] = {}
    for row in rows:
        if row["tier"] == tier and row["job"] == "hit" and "1.6 kB" in row["name"]:
            found[f"{OURS}, {row['face']}"] = row["ours"]
            found[f"{row['peer']}, {row['face']}"] = row["theirs"]
    return sorted(found.items(), key=lambda pair: pair[1])


def _barh(axis: Any, bars: Sequence[tuple[str, float]], shown: Any, title: str, *, log: bool = True) -> None:
    names, values = [name for name, _ in bars], [value for _, value in bars]
    ours = [name.startswith(OURS) for name in names]
    low = 10 ** math.floor(math.log10(min(values))) / 2 if log else 0
    axis.barh(range(len(bars)), [value - low for value in values], left=low, height=0.72,
              color=[_BLUE if own else "#C9CDD2" for own in ours])  # fmt: skip
    if log:
        axis.set_xscale("log")
    axis.set_xlim(low, max(values) * (2.2 if log else 1.12))
    axis.set_ylim(len(bars) - 0.4, -0.6)
    axis.set_yticks(range(len(bars)), names)
    for label, own in zip(axis.get_yticklabels(), ours, strict=True):
        label.set_fontweight("bold" if own else "normal")
    for place, (value, own) in enumerate(zip(values, ours, strict=True)):
        text = f" {shown(value)}"
        axis.text(value, place, text, va="center", fontsize=7.5, fontweight="bold" if own else "normal")
    axis.tick_params(length=0)
    axis.set_xticks([])
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.minorticks_off()
    axis.spines[["bottom", "left"]].set_visible(False)
    axis.set_title(title)


def growth(rows: Sequence[Row]) -> Any:
    """A hit as the cache grows, CPU, a line for each cache."""
    found = [row for row in rows if row["job"] == "growth"]
    if not found:
        return None
    figure, axes = plt.subplots(1, 2, figsize=(9.2, 4.2), sharey=True, layout="constrained")
    both = [_lines(found, face, "cpu_ours", "cpu_theirs") for face in ("sync", "async")]
    for axis, lines, face in zip(axes, both, ("blocking", "awaited"), strict=True):
        _plot(axis, lines, _time, f"in memory, {face}: CPU of a hit, at random", _limits(both))
        axis.set_xlabel("entries")
    return figure


def callers(rows: Sequence[Row]) -> Any:
    """Hits a second with many callers at once, a line for each cache."""
    found = [row for row in rows if row["job"] == "callers"]
    tiers = [tier for tier in ("memory", "Redis") if any(row["tier"] == tier for row in found)]
    if not tiers:
        return None
    figure, axes = plt.subplots(
        len(tiers), 2, figsize=(9.2, 3.6 * len(tiers)), sharey="row", squeeze=False, layout="constrained"
    )
    for row_of, tier in zip(axes, tiers, strict=True):
        some = [row for row in found if row["tier"] == tier]
        both = [_per_second(_lines(some, face, "ours", "theirs")) for face in ("sync", "async")]
        for axis, lines, who in zip(row_of, both, ("threads", "tasks"), strict=True):
            _plot(axis, lines, _count, f"{tier}: hits a second from {who} at once", _limits(both))
            axis.set_xlabel(who)
    return figure


def footprint(rows: Sequence[Row]) -> Any:
    """What an entry takes in memory, a bar for each cache."""
    found = [row for row in rows if row["job"] == "bytes"]
    if not found:
        return None
    biggest = max(row["callers"] for row in found)
    bars = {row["peer"]: row["theirs"] for row in found if row["callers"] == biggest}
    bars[OURS] = next(row["ours"] for row in found if row["callers"] == biggest)
    figure, axis = plt.subplots(figsize=(7.6, 0.185 * len(bars) + 0.7), layout="constrained")
    ordered = sorted(bars.items(), key=lambda pair: pair[1])
    title = f"bytes an entry in memory beyond key and payload, {biggest:,} entries"
    _barh(axis, ordered, lambda value: f"{value:,.0f}", title, log=False)
    return figure


def _lines(rows: Sequence[Row], face: str, ours: str, theirs: str) -> Lines:
    lines: dict[str, dict[float, float]] = {}
    for row in rows:
        if row["face"] == face:
            lines.setdefault(OURS, {})[row["callers"]] = row[ours]
            lines.setdefault(row["peer"], {})[row["callers"]] = row[theirs]
    return {name: sorted(points.items()) for name, points in lines.items()}


def _per_second(lines: Lines) -> Lines:
    return {name: [(x, 1e9 / ns) for x, ns in points] for name, points in lines.items()}


def _limits(panels: Sequence[Lines]) -> tuple[float, float]:
    """Return the limits of panels that share their axis of values."""
    values = [value for lines in panels for points in lines.values() for _, value in points]
    return min(values) / 1.7, max(values) * 1.7


def _plot(axis: Any, lines: Lines, shown: Any, title: str, limits: tuple[float, float]) -> None:
    peers = [name for name in lines if name != OURS]
    colours = dict(zip(peers, _PALETTE * 3, strict=False)) | {OURS: _BLUE}
    axis.set_xscale("log")
    axis.set_yscale("log")
    for name, points in lines.items():
        own = name == OURS
        axis.plot(*zip(*points, strict=True), color=colours[name], linewidth=2.6 if own else 1.2, marker="o",
                  markersize=4.5 if own else 2.8, zorder=3 if own else 2)  # fmt: skip
    axis.grid(visible=True, axis="y", color="#EEEEEE", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(length=0, which="both")
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value)))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_title(title)
    axis.set_ylim(limits)
    if not lines:
        axis.set_axis_off()
        return
    measured = sorted({x for points in lines.values() for x, _ in points})
    left, right = measured[0], measured[-1]
    axis.set_xticks(measured, [f"{x:,.0f}" for x in measured])
    axis.set_xlim(left / 1.15, right * (right / left) ** 0.75)
    axis.spines["bottom"].set_bounds(left, right)
    ends = {name: points[-1][1] for name, points in lines.items()}
    for name, height in _spread(ends, axis.get_ylim()):
        own = name == OURS
        axis.annotate(
            name,
            (right, ends[name]),
            xytext=(right * (right / left) ** 0.05, height),
            color=colours[name],
            fontsize=7.8,
            fontweight="bold" if own else "normal",
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "color": colours[name],
                "linewidth": 0.5,
                "shrinkA": 0,
                "shrinkB": 2,
                "relpos": (0, 0.5),
            },
        )


def _spread(ends: Mapping[str, float], limits: tuple[float, float]) -> Iterator[tuple[str, float]]:
    """Yield heights for the labels of the lines' ends, as near to them as they can be without touching."""
    low, high = (math.log(limit) for limit in limits)
    gap = (high - low) * 0.052
    order = sorted(ends, key=ends.__getitem__)
    places = [math.log(ends[name]) for name in order]
    for _ in range(200):
        for one, two in zip(range(len(places)), range(1, len(places)), strict=False):
            if (missing := gap - (places[two] - places[one])) > 0:
                places[one] -= missing / 2
                places[two] += missing / 2
        places = [min(max(place, low + gap / 2), high - gap / 2) for place in places]
    for name, place in zip(order, places, strict=True):
        yield name, math.exp(place)


def _time(value: float) -> str:
    for limit, scale, unit in ((1e3, 1, "ns"), (1e6, 1e3, "µs"), (1e9, 1e6, "ms")):
        if value < limit:
            return f"{value / scale:.3g} {unit}"
    return f"{value / 1e9:.3g} s"


def _count(value: float) -> str:
    return f"{value / 1e6:.3g} M" if value >= 1e6 else f"{value / 1e3:.3g} k" if value >= 1e3 else f"{value:.0f}"


if __name__ == "__main__":
    draw(figures.read(), Path(sys.argv[1]) if sys.argv[1:] else None)
