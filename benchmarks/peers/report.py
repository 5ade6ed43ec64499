"""The table: which cells there are, how they read on a terminal, and as docs/peers.md."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import defects  # noqa: F401 - makes the rows known
import libraries
from bench import ROWS
from rich.console import Console
from rich.table import Table

_COLOURS = {"pass": "green", "fail": "red", "n/a": "dim"}
_console = Console()
if not _console.is_terminal:
    _console = Console(width=180)  # a file has no width; eighty columns fold every name


@dataclass(frozen=True)
class Cell:
    """A row, for a library in one of the settings that matter to it."""

    library: str
    file: str
    row: str
    setting: str


@dataclass(frozen=True)
class Ended(Cell):
    """How it ended."""

    verdict: str
    happened: str


def cells(only: Sequence[str]) -> tuple[list[Cell], dict[str, str]]:
    """Return the cells that are asked for, and why libraries are missing."""
    found, missing = [], {}
    for file in libraries.FILES:
        try:
            library = libraries.load(file)
        except Exception as error:
            missing[file] = f"{type(error).__name__}: {error}".splitlines()[0]
            continue
        for row in ROWS.values():
            settings = library.settings_of(row.topic)
            if not only or any(_means(text, (library.name, file), row.name) for text in only):
                found += [Cell(library.name, file, row.name, setting) for setting in settings]
    return found, missing


def _means(text: str, names: tuple[str, str], row: str) -> bool:
    library, _, wanted = text.partition(":")
    if wanted:
        return library.lower() in _lower(names) and wanted == row
    return library.lower() in _lower(names) or library == row


def _lower(names: tuple[str, str]) -> set[str]:
    return {name.lower() for name in names}


def merged(before: list[dict[str, str]], now: list[Ended]) -> list[Ended]:
    """Return the outcomes of an earlier run, those of this run in place of theirs, in the order of the table."""
    found = {(one["file"], one["row"], one["setting"]): Ended(**one) for one in before}
    found |= {(one.file, one.row, one.setting): one for one in now}
    rows = list(ROWS)
    wanted = [one for one in found.values() if one.row in rows and one.file in libraries.FILES]
    return sorted(wanted, key=lambda one: (libraries.FILES.index(one.file), rows.index(one.row)))


def about(missing: dict[str, str]) -> dict[str, Any]:
    """Return what the outcomes depend on."""
    versions = {}
    for file in libraries.FILES:
        if file not in missing:
            library = libraries.load(file)
            versions[library.name] = library.version()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {"python": platform.python_version(), "system": platform.system(), "cpus": os.cpu_count()},
        "load": load and round(load, 1),
        "versions": versions,
        "missing": missing,
    }


def progress(ended: Ended, seconds: float) -> None:
    """Say how a cell ended."""
    colour = _COLOURS[ended.verdict]
    _console.print(
        f"[{colour}]{ended.verdict:4}[/] {ended.library}:{ended.row} [dim]({ended.setting}, {seconds:.0f} s)[/] ",
        end="",
    )
    _console.print(ended.happened, markup=False, highlight=False)


def show(outcomes: list[Ended], about: dict[str, Any], *, details: bool) -> None:
    """Print the table; with details, what was done and what is right, too."""
    for name in dict.fromkeys(one.row for one in outcomes) if details else ():
        row = ROWS[name]
        _console.print(f"\n[bold]{row.name}[/]: {row.title}", highlight=False)
        _console.print(f"Done: {row.done}\nRight: {row.right}", highlight=False)
    names = list(dict.fromkeys(one.library for one in outcomes))
    table = Table("", *names)
    for row in dict.fromkeys(one.row for one in outcomes):
        texts = [verdict(outcomes, name, row) for name in names]
        table.add_row(ROWS[row].title, *(f"[{_COLOURS[text.split()[-1]]}]{text}[/]" for text in texts))
    _console.print(table)
    _console.print(_LEGEND, highlight=False)
    _console.print(_versions(about), highlight=False)


_LEGEND = (
    "Two verdicts with an arrow: by default, and in the setting that is strongest for the problem or that the row is "
    "about. n/a: the library does not offer what the row is about."
)


def verdict(outcomes: list[Ended], library: str, row: str) -> str:
    """Return a library's verdict on a row: one, or the default's and that of the setting named last."""
    found = [one.verdict for one in outcomes if (one.library, one.row) == (library, row)]
    if len(set(found)) <= 1:
        return found[0] if found else "n/a"
    if library == "tiercache":  # its settings are its two faces, and both must hold
        return "fail" if "fail" in found else "pass"
    return f"{found[0]} → {found[-1]}"


def markdown(outcomes: list[Ended], about: dict[str, Any]) -> str:
    """Return the page."""
    names = list(dict.fromkeys(one.library for one in outcomes))
    rows = [ROWS[name] for name in ROWS if any(one.row == name for one in outcomes)]
    lines = [
        "# Beside its peers: what goes wrong",
        "",
        "Defects that were seen in caches for Python, each reproduced by a small program and run against tiercache and "
        "six other libraries, used as their documentation says. Written by `make peers`; do not edit. One row of one "
        "library, with what happened: `python benchmarks/peers/run.py --only cashews:delete-during-load`.",
        "",
        "The others are good at what they are for, and most do not claim all of this: dogpile.cache and diskcache "
        "block, py-key-value-aio is a library of stores, LiteLLM caches as a part of a gateway. A library that does "
        "not offer what a row is about has n/a there, and the list below says why.",
        "",
        _versions(about),
        "",
        f"{_LEGEND} The settings are named below.",
        "",
        "| | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
    ]
    for row in rows:
        cells = (_bold(verdict(outcomes, name, row.name)) for name in names)
        lines.append(f"| [{row.title}](#{row.name}) | " + " | ".join(cells) + " |")
    for row in rows:
        lines += ["", f"## {row.name}", "", f"{row.title}. {row.done}", "", f"A correct cache: {row.right}", ""]
        for one in outcomes:
            if one.row == row.name:
                lines.append(f"- **{one.library}** ({_code(one.setting)}): {one.verdict}; {_safe(one.happened)}")
    return "\n".join(lines) + "\n"


def _versions(about: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    left_out = "".join(f" {name} is left out: {reason}." for name, reason in about["missing"].items())
    machine = about["machine"]
    where = f"Python {machine['python']}, {machine['system']}, {machine['cpus']} CPUs"
    return f"Run on {about['date']} ({where}): {versions}.{left_out}"


def _bold(text: str) -> str:
    return f"**{text}**" if text.startswith("fail") else text


def _code(text: str) -> str:
    return text if text in ("as documented", "awaited", "blocking") else f"`{text}`"


def _safe(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("`", "'")


if __name__ == "__main__":
    sys.exit("this is a part of run.py")
