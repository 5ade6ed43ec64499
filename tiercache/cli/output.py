"""What people and scripts see: results on stdout, as a table or as one JSON document; everything else on stderr."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

import typer

from .streams import Closed, drop, is_unicode, least_width, width, writing

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on stdout.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")]


@cache
def stdout() -> Console:
    """Return the console for results."""
    return _console(stderr=False)


@cache
def stderr() -> Console:
    """Return the console for messages, questions and progress."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    # Keys and messages are text as it stands: no markup, no emoji, no colours by what it looks like.
    columns = None if stream.isatty() else width()
    console = Console(stderr=stderr, width=columns, markup=False, emoji=False, highlight=False)
    console.on_broken_pipe = partial(_gone, stream)  # type: ignore[method-assign]  # its own exits with 1
    return console


def _gone(stream: TextIO) -> None:
    drop(stream)
    raise Closed


def say(text: str, *, style: str | None = None) -> None:
    """Tell a person something: on stderr, one message, as wide as it is."""
    stderr().print(text, style=style, soft_wrap=True)


def show(text: str, *, style: str | None = None) -> None:
    """Print a line of the result on stdout (not with `--json`)."""
    with writing(sys.stdout):
        stdout().print(text, style=style, soft_wrap=True)


def show_json(document: Any) -> None:
    """Print the one JSON document. Takes dataclasses, dates (ISO 8601), paths and bytes (base64), too."""
    import json

    import msgspec

    plain = msgspec.to_builtins(_finite(document), enc_hook=_plain)
    with writing(sys.stdout):
        print(json.dumps(plain, indent=2, ensure_ascii=not is_unicode(sys.stdout)))


def show_json_line(document: Any) -> None:
    """Print one document of many, on a line of its own."""
    import json

    with writing(sys.stdout):
        print(json.dumps(document, ensure_ascii=not is_unicode(sys.stdout)))


def show_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str | None = None,
    numbers: Iterable[str] = (),
    styles: dict[str, str] | None = None,
) -> None:
    """Print a table on stdout; where it is too wide for the terminal, row by row, a line a cell.

    Args:
        columns: the headings.
        rows: one cell a column; None is an empty cell, a rich `Text` is kept.
        title: a line above it.
        numbers: the columns that are set flush right.
        styles: a style for each cell whose text is one of these: `{"fails": "red"}`.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    rows, numbers = list(rows), set(numbers)
    if least_width(columns, rows, numbers) > stdout().width:
        _show_rows(columns, rows, title, styles or {})
        return
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        is_number = column in numbers
        justify: Literal["left", "right"] = "right" if is_number else "left"
        table.add_column(column, justify=justify, no_wrap=is_number, overflow="fold", min_width=len(column))
    for row in rows:
        cells = ["" if cell is None else cell for cell in row]
        table.add_row(
            *(cell if isinstance(cell, Text) else Text(str(cell), (styles or {}).get(str(cell), "")) for cell in cells)
        )
    with writing(sys.stdout):
        stdout().print(table)


def _show_rows(
    columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None, styles: dict[str, str]
) -> None:
    if title is not None:
        show(title, style="bold")
    heads = max(map(len, columns))
    for row in rows:
        show("")
        for column, cell in zip(columns, row, strict=False):
            if cell is not None and str(cell):
                show(f"{column:<{heads}}  {cell}", style=styles.get(str(cell)))
    show("")


def progress(*, bytes_too: bool = False) -> Progress:
    """Return a progress bar on stderr with rate and time left, a context manager: rich's `Progress`.

    Where stderr is no terminal it prints nothing until it ends. Tasks have a field `unit`:
    `bar.add_task("copied", total=None, unit="entries")`.

    Args:
        bytes_too: show how many bytes a task has moved, from its field `moved` (`bar.update(task, moved=…)`).
    """
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns: list[Any] = [
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TaskProgressColumn(show_speed=False),
        TextColumn("{task.completed:,.0f} {task.fields[unit]}"),
        _Rate(),
    ]
    if bytes_too:
        columns.append(_Moved())
    console = stderr()
    return Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )


def _Rate() -> Any:  # noqa: N802 - a column, as rich names them; made when it is needed, for a quick start
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f}/s")

    return Rate()


def _Moved() -> Any:  # noqa: N802 - likewise
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Moved(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(size(task.fields.get("moved", 0)))

    return Moved()


def agreed(question: str, *, yes: bool) -> bool:
    """Ask on stderr whether to go on; `yes` answers for the caller.

    Raises:
        Mistake: nobody is there to be asked (stdin is no terminal) and `--yes` was not given.
        KeyboardInterrupt: Ctrl-C or the end of the input, in place of an answer.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        from .failures import Mistake

        raise Mistake(f"{question} Nobody is there to answer: add --yes to do it")
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        raise KeyboardInterrupt from None


def size(count: float | None) -> str:
    """Return a number of bytes for people, as `shown_bytes`: `1.5 MiB`; None is unknown: `?`."""
    from ..units import shown_bytes

    return "?" if count is None else shown_bytes(count)


def counted(count: float, one: str, many: str | None = None) -> str:
    """Return a number with its noun: `1 entry`, `1,200 entries`; `many` is the plural where it is more than an s."""
    if many is None:
        many = f"{one[:-1]}ies" if one.endswith("y") and one[-2] not in "aeiou" else f"{one}s"
    return f"{count:,.0f} {one if count == 1 else many}"


def duration(seconds: float | None) -> str:
    """Return seconds for people: `850 µs`, `12 ms`, `3.2 s`, `5 min`, `2 h`, `30 d`; None is for ever: `-`."""
    if seconds is None:
        return "-"
    for unit, each in (("d", 86_400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if abs(seconds) >= each:
            return f"{seconds / each:,.3g} {unit}"
    return f"{seconds * 1e6:,.0f} µs"


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    raise TypeError(f"no JSON for {type(value).__name__}")


def _finite(value: Any) -> Any:
    """The document without numbers that JSON has not."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _finite(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
