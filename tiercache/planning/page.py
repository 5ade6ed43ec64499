"""One self-contained HTML page of a plan: its plots as inline SVG, its tables, no script and nothing from outside."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from ..pricing import dollars
from ..units import shown_bytes
from .advice import shown_seconds
from .figures import drawn, svg_of

if TYPE_CHECKING:
    from .report import Plan

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
svg { width: 100%; height: auto; } figure { margin: 1.5rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #e5e5e5; vertical-align: top; }
th:first-child, td:first-child, .text { text-align: left; }
.caution { border-left: .3rem solid #D55E00; background: #FFF4EC; padding: .5rem .8rem; }
li { margin: .5rem 0; } .faint { color: #666; font-size: .9rem; } .scroll { overflow-x: auto; }
"""


def page(plan: Plan) -> str:
    """Return the page.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figures = {name: f"<figure>{_own(svg_of(figure), name)}</figure>" for name, figure in drawn(plan)}
    body = [
        "<h1>What this cache should be</h1>",
        f"<p>{escape(_about(plan))}</p>",
        *(f'<p class="caution">{escape(sentence)}</p>' for sentence in plan.cautions),
        *(f'<p class="faint">{escape(line)}</p>' for line in plan.log.told.splitlines()),
        "<ul>",
        *(f"<li>{escape(sentence)}</li>" for sentence in plan.advice),
        "</ul>",
        "<h2>Memory</h2>",
        figures["hit-ratio"],
        _curves(plan),
        "<h2>Tiers</h2>",
        figures["tiers"],
        _tiers(plan),
        "<h2>Store</h2>",
        figures["cost"],
        _classes(plan),
        "<h2>Time to live</h2>",
        figures.get("ttl", "<p>The log is too short to try any.</p>"),
        f'<p class="faint">{escape(_assumed(plan))}</p>',
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>tiercache plan</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _own(svg: str, name: str) -> str:
    """Give a plot ids of its own, so that several stand in one page."""
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    return re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', svg)


def _about(plan: Plan) -> str:
    log = plan.log
    sampled = ""
    if log.rate < 1:
        worst = max(max(curve.error) for curve in plan.curves)
        sampled = f" Simulated were {log.rate:.2%} of the keys; hit ratios are within {worst * 100:.1f} points."
    return (
        f"{log.reads:,} reads of about {log.entries:,.0f} keys in {shown_seconds(log.span)}. All entries together take "
        f"{shown_bytes(log.footprint)} of memory; with that, {log.can_hit:.1%} of the reads would be hits.{sampled}"
    )


def _assumed(plan: Plan) -> str:
    one = plan.assumptions
    return (
        f"Assumed: a GiB of RAM costs {dollars(one.memory_price)} a month, of Redis {dollars(one.redis_price)}; "
        f"{one.processes} process{'es' * (one.processes > 1)}; segments of {one.segment}. Prices of storage classes "
        "are list prices. A month has 30 days at the pace of the log."
    )


def _curves(plan: Plan) -> str:
    head = ["memory", *(curve.policy.value for curve in plan.curves)]
    rows = [
        [shown_bytes(size), *(f"{curve.hit_ratio[place]:.1%}" for curve in plan.curves)]
        for place, size in enumerate(plan.curves[0].sizes)
    ]
    return _table(head, rows)


def _tiers(plan: Plan) -> str:
    rows = [[one.tier, *(f"{amount:,.0f}" for amount in (one.reads, one.hits, one.writes))] for one in plan.tiers.tiers]
    return _table(["a month", "reads", "hits", "writes"], rows)


def _classes(plan: Plan) -> str:
    rows = [
        [
            f"{one.storage_class}, {one.layout}",
            *map(dollars, (one.storage, one.requests, one.other)),
            ("about " if one.is_estimate else "") + dollars(one.total),
            one.note,
        ]
        for one in plan.classes
    ]
    return _table(["class and layout", "storage", "requests", "other", "a month", "note"], rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        kinds = [' class="text"' if name == "note" else "" for name in head]
        return "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for cell, kind in zip(cells, kinds, strict=True))

    body = "\n".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    top = line(head, "th")
    return f'<div class="scroll"><table>\n<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
