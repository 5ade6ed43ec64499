"""The plots of a plan, drawn with matplotlib: hit ratio by memory, cost by class, traffic by tier, hits by TTL."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtra
from ..eviction import EvictionPolicy
from ..pricing import dollars
from ..units import shown_bytes
from .advice import best_policy, shown_seconds

if TYPE_CHECKING:
    from .report import Plan
    from .simulation import Curve

# The colours of Okabe and Ito, which people with colour-blindness tell apart; and a dash of its own for each line.
LOOKS: Mapping[EvictionPolicy, tuple[str, Any]] = {
    EvictionPolicy.LRU: ("#000000", "-"),
    EvictionPolicy.S3FIFO: ("#D55E00", "-"),
    EvictionPolicy.SIEVE: ("#0072B2", (0, (6, 2))),
    EvictionPolicy.LFU: ("#009E73", (0, (3, 1.5))),
    EvictionPolicy.FIFO: ("#CC79A7", (0, (1, 1))),
    EvictionPolicy.TTL: ("#999999", (0, (4, 1, 1, 1))),
}
PARTS = (("storage", "#0072B2"), ("requests", "#E69F00"), ("retrieval, uploads", "#999999"))
TIERS = {"memory": "#009E73", "redis": "#D55E00", "store": "#0072B2"}
INK, FAINT = "#333333", "#DDDDDD"
SAME = 0.003
"""Hit ratio within which curves are the same to the eye, and share a label."""
AWAY = 36
"""Points from a curve to a name that stands away from it."""
LABEL = 0.05
"""How far from its curve a label stands, of the plot's height."""
STYLE: Mapping[str, Any] = {
    "figure.figsize": (8.0, 4.6),
    "figure.facecolor": "white",
    "font.size": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlepad": 12,
    "axes.labelcolor": INK,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.hashsalt": "tiercache",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
}


def check() -> None:
    """Raise MissingExtra unless plots can be drawn."""
    try:
        import matplotlib as _  # noqa: F401 - whether it is there is the question
    except ImportError as error:
        raise MissingExtra("drawing plots", "plan") from error


def drawn(plan: Plan) -> Iterator[tuple[str, Any]]:
    """Yield the name and the figure of each plot; a figure holds until the next one.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    check()
    plots: Sequence[tuple[str, Callable[[Plan, Any], None]]] = (
        ("hit-ratio", _hit_ratio),
        ("tiers", _tiers),
        ("cost", _cost),
        ("ttl", _ttl),
    )
    for name, draw in plots:
        if name == "ttl" and not plan.lifetimes.tried:
            continue
        with _figure() as (figure, axes):
            draw(plan, axes)
            yield name, figure


def svg_of(figure: Any) -> str:
    """Return a figure as SVG, the same for the same plan, without references to anything outside."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    text = buffer.getvalue()
    text = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE).strip() + "\n"


def write_plots(plan: Plan, directory: Path) -> list[Path]:
    """Write each plot as PNG and as SVG, and return the files."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in drawn(plan):
        png, svg = directory / f"{name}.png", directory / f"{name}.svg"
        figure.savefig(png, dpi=160, bbox_inches="tight", metadata={"Software": None})
        svg.write_text(svg_of(figure), encoding="utf-8")
        written += [png, svg]
    return written


@contextmanager
def _figure() -> Iterator[tuple[Any, Any]]:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = dict(STYLE)  # its keys are literals to type checkers
    with mpl.rc_context(style):
        figure = Figure()
        FigureCanvasAgg(figure)
        yield figure, figure.add_subplot()


def _hit_ratio(plan: Plan, axes: Any) -> None:
    best = best_policy(plan.curves).policy
    for curve in plan.curves:
        colour, dashes = LOOKS[curve.policy]
        wide = 2.6 if curve.policy in (plan.memory.policy, best) else 1.6
        axes.plot(curve.sizes, [100 * one for one in curve.hit_ratio], color=colour, linestyle=dashes, linewidth=wide)
        if any(curve.error) and curve.policy is best:
            low = [100 * max(0.0, one - error) for one, error in zip(curve.hit_ratio, curve.error, strict=True)]
            high = [100 * min(1.0, one + error) for one, error in zip(curve.hit_ratio, curve.error, strict=True)]
            axes.fill_between(curve.sizes, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xscale("log", base=2)
    _sizes(axes, plan.curves[0].sizes)
    top = max(max(curve.hit_ratio) for curve in plan.curves)
    axes.set_ylim(0, 112 * top + 1)  # names stand above their curves
    axes.set_yticks([tick for tick in axes.get_yticks() if tick <= 100])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    axes.set_title("Reads that memory answers, by its size and eviction policy")
    axes.set_xlabel("memory for entries, their overhead included")
    _label_curves(plan.curves, axes)
    _mark_choice(plan, axes)


def _mark_choice(plan: Plan, axes: Any) -> None:
    size = plan.memory
    axes.axvline(size.bytes, color="#888888", linewidth=1, linestyle=(0, (2, 2)), zorder=0)
    axes.plot(
        [size.bytes], [100 * size.hit_ratio], "o", clip_on=False, color=LOOKS[size.policy][0], markersize=8, zorder=5
    )
    place = plan.curves[0].sizes.index(size.bytes)
    right = place > len(plan.curves[0].sizes) / 2
    axes.annotate(
        f"{shown_bytes(size.bytes)}, {size.policy}:\n{size.hit_ratio:.1%} for {dollars(size.usd)} a month",
        (size.bytes, 0),
        xytext=(-8 if right else 8, 10),
        textcoords="offset points",
        ha="right" if right else "left",
        va="bottom",
        color=INK,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
    )


def _label_curves(curves: Sequence[Curve], axes: Any) -> None:
    """Write each name where its curve is furthest from the others; curves that are the same share a label.

    A name that finds no clear place beside its curve stands away from it, with a line that leads there.
    """
    groups: list[list[Curve]] = []
    for curve in curves:
        same = [group for group in groups if _apart(group[0], curve) < SAME]
        if same:
            same[0].append(curve)
        else:
            groups.append([curve])
    taken: list[tuple[int, float]] = []
    top = axes.get_ylim()[1] / 100
    for group in groups:
        others = [other[0].hit_ratio for other in groups if other is not group]
        at, away = _clearest(group[0].hit_ratio, others, taken, LABEL * top)
        taken.append((at, group[0].hit_ratio[at] + away))
        colour, up, is_away = LOOKS[group[0].policy][0], 1 if away > 0 else -1, abs(away) > 1.5 * LABEL * top
        axes.annotate(
            " = ".join(curve.policy.value for curve in group),
            (curves[0].sizes[at], 100 * group[0].hit_ratio[at]),
            xytext=(-6 * up, (AWAY if is_away else 3) * up),
            textcoords="offset points",
            ha="right" if up > 0 else "left",
            va="bottom" if up > 0 else "top",
            color=colour,
            fontweight="bold",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 2}
            if is_away
            else None,
        )


def _clearest(
    own: Sequence[float], others: Sequence[Sequence[float]], taken: Sequence[tuple[int, float]], step: float
) -> tuple[int, float]:
    """Return the number of the size at which a curve's name stands, and how far above or below it, in hit ratio."""
    best = (-1.0, 0, step)
    for at in range(1, max(2, len(own) - 1)):
        for away in (step, -step, 3 * step, -3 * step):
            if away < 0 and len(own) > 6 and at > len(own) - 4:
                continue  # it would stand beyond the right edge
            place, beside = own[at] + away, at - (1 if away > 0 else -1)
            if not 1.5 * step <= place <= step / LABEL or not 0 <= beside < len(own):
                continue
            near = [4 * abs(own[at] - other[at]) for other in others]
            for other in (*others, own) if abs(away) > step else others:
                near += [
                    abs(place - other[at]),
                    abs(place - (other[at] + other[beside]) / 2),
                    abs(place - other[beside]),
                ]
            near += [max(abs(place - y), abs(at - x) * step) for x, y in taken]
            best = max(best, (min([3 * step, *near]) - abs(away) / 4, at, away))
    return best[1], best[2]


def _apart(one: Curve, other: Curve) -> float:
    return max(abs(left - right) for left, right in zip(one.hit_ratio, other.hit_ratio, strict=True))


def _tiers(plan: Plan, axes: Any) -> None:
    tiers = plan.tiers.tiers
    reads = max(1.0, tiers[0].reads)
    axes.grid(axis="y", visible=False)
    for place, one in enumerate(tiers):
        axes.barh(place, 100 * one.reads / reads, color=TIERS[one.tier], alpha=0.25, height=0.5)
        axes.barh(place, 100 * one.hits / reads, color=TIERS[one.tier], height=0.5)
        share = f"{one.hits / one.reads:.1%}" if one.reads else "none"
        _above(axes, place, f"{_many(one.reads)} reads, {share} of them hits; {_many(one.writes)} writes")
    below = 100 * plan.tiers.computed / reads
    axes.barh(len(tiers), below, color=INK, height=0.5)
    _above(axes, len(tiers), f"{_many(plan.tiers.computed)} values that no tier has")
    rooms = {"memory": shown_bytes(plan.tiers_memory), "redis": shown_bytes(plan.redis_bytes)}
    labels = [f"{one.tier}\n{rooms[one.tier]}" if one.tier in rooms else one.tier for one in tiers]
    axes.set_yticks(range(len(tiers) + 1), [*labels, "computed"])
    axes.set_ylim(len(tiers) + 0.5, -0.75)
    axes.set_xlim(0, 100)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    axes.set_xlabel("of all reads (dark: answered there)")
    axes.set_title("What reaches each tier in a month")


def _above(axes: Any, place: int, text: str) -> None:
    axes.annotate(
        text,
        (0, place - 0.27),
        xytext=(2, 2),
        textcoords="offset points",
        va="bottom",
        color=INK,
        fontsize=9.5,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )


def _cost(plan: Plan, axes: Any) -> None:
    shown = list(plan.classes[:12])
    axes.grid(axis="y", visible=False)
    axes.figure.set_size_inches(8.0, 1.4 + 0.36 * len(shown))
    most = max(one.total for one in shown) or 1.0
    for place, one in enumerate(shown):
        start = 0.0
        for (_, colour), amount in zip(PARTS, (one.storage, one.requests, one.other), strict=True):
            axes.barh(place, amount, left=start, color=colour, height=0.66)
            start += amount
        about = "about " if one.is_estimate else ""
        axes.annotate(
            f"{about}{dollars(one.total)}{'' if one.choosable else ' *'}",
            (one.total, place),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=INK,
        )
    axes.set_yticks(range(len(shown)), [f"{one.storage_class}, {one.layout}" for one in shown])
    axes.invert_yaxis()
    axes.set_xlim(0, most * 1.2)
    axes.locator_params(axis="x", nbins=5, steps=[1, 2, 5, 10])  # there is room for so many, of any size
    axes.xaxis.set_major_formatter(lambda value, _: "$" + f"{value:,.6f}".rstrip("0").rstrip("."))
    axes.set_xlabel("US dollars a month   (* has a catch: see the table)")
    axes.set_title(f"The store's bill by class and layout ({plan.assumptions.store})")
    for number, (name, colour) in enumerate(PARTS):
        axes.annotate(
            name,
            (1, 0.96),
            xycoords="axes fraction",
            xytext=(-4, -15 * number),
            textcoords="offset points",
            ha="right",
            va="top",
            color=colour,
            fontweight="bold",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )


def _ttl(plan: Plan, axes: Any) -> None:
    tried = plan.lifetimes.tried
    colour = "#0072B2"
    axes.plot([one.ttl for one in tried], [100 * one.hit_ratio for one in tried], "o-", color=colour, linewidth=2.2)
    axes.axhline(100 * plan.lifetimes.without, color=INK, linewidth=1, linestyle=(0, (2, 2)))
    axes.annotate(
        f"without a TTL: {plan.lifetimes.without:.1%}",
        (tried[0].ttl, 100 * plan.lifetimes.without),
        xytext=(0, 4),
        textcoords="offset points",
        color=INK,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
    )
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks([one.ttl for one in tried], [f"{shown_seconds(one.ttl)}\n{_many(one.entries)}" for one in tried])
    top = 100 * max(plan.lifetimes.without, 0.01)
    axes.set_ylim(0, top * 1.12)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    axes.set_xlabel("time to live, from when an entry is stored; below it, the entries that are kept on average")
    axes.set_title("Reads that an unbounded memory answers, by TTL")


def _sizes(axes: Any, sizes: Sequence[int]) -> None:
    every = max(1, -(-len(sizes) // 8))
    shown = sizes[::-every][::-1]
    axes.minorticks_off()
    axes.set_xticks(shown, [shown_bytes(one).replace(" ", "\n") for one in shown])
    axes.set_xlim(sizes[0], sizes[-1] * (sizes[-1] / sizes[0]) ** 0.02)


def _many(number: float) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.3g}{name}"
    return f"{number:.0f}"
