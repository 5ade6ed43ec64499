"""`tiercache doctor`: whether each tier can be used, what is wrong with it, what that costs, and what to do."""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from .failures import No
from .output import AsJson, duration, say, show, show_json, show_table
from .source import Config, Namespace, Urls, names, opened

if TYPE_CHECKING:
    from ..findings import Finding
    from .examination import TierReport

_COLOURS = {"fault": "red", "warning": "yellow", "note": "dim"}
_STATES = {
    "ok": "green",
    "yes": "green",
    "no": "red",
    "denied": "red",
    "fails": "red",
    "unknown": "dim",
    "not needed": "dim",
}
_ORDER = ("read", "write", "delete", "list", "condition", "notices")
_NAMES = {"condition": "conditional writes"}


def doctor(
    urls: Urls = None,
    config: Config = None,
    namespace: Namespace = None,
    objects: Annotated[
        int, typer.Option(min=0, help="Objects of a bucket to look at, to say what it costs. 0: none.")
    ] = 2000,
    as_json: AsJson = False,
) -> None:
    """Check each tier: what it lets you do, how quickly, what is wrong, what that costs, and the fix.

    It writes, reads, lists, replaces and deletes an entry of its own in each tier (below _meta:doctor), and looks at
    clocks, permissions, storage classes, lifecycle rules, eviction, free space.

    Exits with 1 when a tier cannot be used; warnings alone exit with 0.
    """
    from .examination import examine, of_chain

    logging.getLogger("tiercache").setLevel(logging.CRITICAL)  # it is said below, with what to do
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with opened(urls, config, namespace, makes=True) as cache:
            reports = []
            for tier in cache.chain.tiers:
                say(f"looking at {tier.label}", style="dim")
                reports.append(examine(cache, tier, objects=objects))
                _name(reports[-1], names(urls, config, len(reports) - 1))
            together = of_chain(cache, reports)
            cache.chain.strict = False  # a tier that cannot be closed has been told of
    broken = [report.name for report in reports if not report.usable]
    if as_json:
        show_json({"ok": not broken, "tiers": reports, "findings": together})
    else:
        _show(reports, together)
    if broken:
        raise No(f"cannot be used: {', '.join(broken)}")


def _name(report: TierReport, words: str) -> None:
    """Put the tier's own name into the commands of its fixes."""
    from .examination import PLACE

    report.findings = [
        dataclasses.replace(each, fix=each.fix.replace(PLACE, words) if words else each.fix.replace(f" {PLACE}", ""))
        for each in report.findings
    ]


def _show(reports: list[TierReport], together: list[Finding]) -> None:
    show_table(
        ["", *(report.name for report in reports)],
        [(name, *map(cell, reports)) for name, cell in _rows(reports)],
        styles=_STATES,
    )
    told = [*((report.name, each) for report in reports for each in report.findings), *(("chain", e) for e in together)]
    for name, finding in told:
        for line, style in _lines(name, finding):
            show(line, style=style)
    if not told:
        show("nothing to mend")


def _rows(reports: list[TierReport]) -> Iterator[tuple[str, Callable[[TierReport], str | None]]]:
    """What is shown of each tier, and how: a column for a tier, as there are few of them and many rows."""
    yield "can be used", lambda report: "yes" if report.usable else "no"
    tried = {name for report in reports for name in report.operations}
    for name in sorted(tried, key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)):
        yield _NAMES.get(name, name), lambda report, name=name: report.operations.get(name)  # type: ignore[misc]
    yield "ping, median", lambda report: None if report.median is None else duration(report.median)
    yield "ping, worst", lambda report: None if report.worst is None else duration(report.worst)
    if any(report.skew is not None for report in reports):
        yield "its clock", lambda report: None if report.skew is None else f"{report.skew:+.1f} s"
    if any(report.contents is not None for report in reports):
        yield "it holds", lambda report: None if report.contents is None else str(report.contents)


def _lines(name: str, finding: Finding) -> Iterator[tuple[str, str | None]]:
    yield f"{finding.level}: {name}: {finding.about}: {finding.text}", _COLOURS[finding.level]
    if finding.monthly:
        from ..pricing import dollars

        yield f"    costs: {dollars(finding.monthly)} a month, by what is there now", None
    if finding.fix:
        yield f"    fix: {finding.fix}", None
