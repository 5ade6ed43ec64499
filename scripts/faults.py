"""Run the fault matrix and print it: faults as rows, stores as columns, the cells that hold counted.

`make faults`; arguments are pytest's (`-k redis`, `-m "not slow"`). Writes nothing.
"""

from __future__ import annotations

import os
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
sys.path[:1] = [str(ROOT), str(ROOT / "backends")]  # not this directory: pytest's plugins would import from it

from tests.faults.catalogue import CATALOGUE, ELSEWHERE  # noqa: E402
from tests.faults.fault import STORES  # noqa: E402


class Outcomes:
    """A pytest plugin that counts how the cells end."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self.failed: list[str] = []
        self.known: dict[str, list[str]] = defaultdict(list)
        self.lacking: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        cell = dict(report.user_properties).get("cell")
        if cell is None or (report.when != "call" and report.outcome == "passed"):
            return
        fault, kind, operation, face = cell
        outcome = "known" if hasattr(report, "wasxfail") and report.outcome == "skipped" else report.outcome
        self.cells[fault, kind][outcome] += 1
        name = f"{fault} {kind} {operation} {face}"
        if outcome == "known":
            self.known[report.wasxfail.removeprefix("reason: ")].append(name)
        elif outcome == "failed":
            self.failed.append(f"{name}: {_why(report)}")
        elif outcome == "skipped":
            self.lacking.add(kind)


def main(arguments: list[str]) -> int:
    """Run the cells, print the matrix; return pytest's exit code."""
    os.chdir(ROOT)
    outcomes = Outcomes()
    options = ["tests/faults", "-q", "--no-header", "-n", "2", "--dist", "loadfile", "--timeout", "300"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # this script has imported the package already
    code = int(pytest.main([*options, *arguments], plugins=[outcomes]))
    show(outcomes, Console())
    return code


def show(outcomes: Outcomes, console: Console) -> None:
    """Print the matrix, its count, and what is to be said of single cells."""
    heads = [kind.replace("-", "\n") for kind in STORES]
    table = Table("fault", *heads, title="cells that hold (of all that ran)", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    reasons: dict[tuple[str, str], list[str]] = defaultdict(list)
    for fault in CATALOGUE:
        table.add_row(f"{fault.id} {fault.title}", *(_shown(outcomes.cells.get((fault.id, kind))) for kind in STORES))
        for kind in STORES:
            if reason := fault.why_not(kind):
                reasons[fault.id, reason].append(kind)
    console.print(table)
    total: Counter[str] = sum(outcomes.cells.values(), Counter())
    console.print(
        f"{total['passed']:,} of {total.total():,} cells hold, {total['failed']} fail, {total['known']} are known to"
        f" fail, {total['skipped']} lack their server ({', '.join(sorted(outcomes.lacking)) or 'none'}).",
        f"{len(CATALOGUE)} faults x {len(STORES)} stores x 5 operations x 2 faces; each cell checks: never a wrong"
        " value, an answer in time, no error unless strict, counted and told once, heals by itself.",
        sep="\n",
    )
    for reason, where in _grouped(reasons).items():
        console.print(f"– {reason}: {where}", highlight=False, soft_wrap=True)
    for number, where in ELSEWHERE.items():
        console.print(f"– {number}: {where}", highlight=False)
    for reason, names in outcomes.known.items():
        console.print(f"known to fail: {reason}: {', '.join(sorted(names))}", highlight=False, soft_wrap=True)
    for failure in sorted(outcomes.failed):
        console.print(f"FAILS {failure}", style="red", highlight=False, soft_wrap=True)


def _grouped(reasons: dict[tuple[str, str], list[str]]) -> dict[str, str]:
    """For each reason the faults and, where they are not all that are left, the stores."""
    grouped: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (fault, reason), kinds in reasons.items():
        grouped[reason, "" if len(kinds) > 2 else f" ({', '.join(kinds)})"].append(fault)
    return {f"{', '.join(ids)}{kinds}": reason for (reason, kinds), ids in grouped.items()}


def _shown(counted: Counter[str] | None) -> str:
    if not counted:
        return "–"
    held, ran = counted["passed"], counted.total() - counted["skipped"]
    if not ran:
        return "no server"
    return str(held) if held == ran else f"{held}/{ran}"


def _why(report: pytest.TestReport) -> str:
    lines = [line for line in report.longreprtext.splitlines() if line.startswith("E ")]
    return lines[0].removeprefix("E").strip() if lines else report.longreprtext[-200:]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
