"""Where output goes: closed, full, without Unicode, narrow; what a command makes of that."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

WIDTH = 140
"""Columns of a table that goes into a file or a pipe."""
_WORD = 12
_FAILS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


class Unwritable(Exception):
    """What was to be shown cannot be written. Exit code 3."""


def prepare() -> None:
    """Make stdout and stderr such that any text can be written there, and a `COLUMNS` that is no width unsaid."""
    said = os.environ.get("COLUMNS", "")
    if not (said.isdecimal() and int(said) > 0):
        os.environ.pop("COLUMNS", None)  # at 0, as some containers have it, tables would be empty
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the process ends
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - likewise
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 - likewise
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")  # a key must not end a command where a terminal lacks a letter


def is_unicode(stream: TextIO) -> bool:
    """Whether a stream takes any letter."""
    return (stream.encoding or "").lower().replace("-", "").replace("_", "").startswith("utf")


def width() -> int:
    """Return the columns of a table where there is no terminal to ask."""
    return int(os.environ.get("COLUMNS") or WIDTH)


def least_width(columns: Sequence[str], rows: Sequence[Sequence[object]], numbers: set[str]) -> int:
    """Return the columns that a table needs, with its numbers whole, and no word of up to 12 letters broken."""
    needed = 2 + 3 * (len(columns) - 1)
    for place, column in enumerate(columns):
        cells = [str(row[place]) for row in rows if place < len(row) and row[place] is not None]
        words = cells if column in numbers else [word[:_WORD] for cell in cells for word in cell.split()]
        needed += max(map(len, [column, *words]))
    return needed


class Closed(Exception):
    """Who read the output has gone, as `head` does: nothing more is wanted. Exit code 141."""


@contextmanager
def writing(stream: TextIO) -> Iterator[None]:
    """Write to a stream within this, so that a full disk is told as that, and a reader that is gone as that.

    Raises:
        Unwritable: it does not take it.
        Closed: nobody reads it any more.
    """
    try:
        yield
        stream.flush()
    except BrokenPipeError:
        drop(stream)
        raise Closed from None
    except OSError as error:
        if error.errno not in _FAILS:
            raise
        drop(stream)
        raise Unwritable(f"the output cannot be written: {os.strerror(error.errno)}") from None


def drop(stream: TextIO) -> None:
    """Let what is still buffered go nowhere, as the interpreter would try once more at its end."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
