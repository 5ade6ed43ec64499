"""Where the tables and keys of a TOML text stand: the line of each, which `tomllib` does not tell.

The scanner reads only what `tomllib` has accepted before, so it looks for ends, not for mistakes.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping

Path = tuple[str | int, ...]
"""The keys and numbers that lead to a value: `("tiers", 0, "url")`."""

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\r\n]+")
# The end of a text that begins with three quotes: up to two more of them may belong to it.
_STRINGS = {
    '"""': re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*"""("{0,2})', re.DOTALL),
    "'''": re.compile(r"'''(?:[^']|'(?!''))*'''('{0,2})", re.DOTALL),
    '"': re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    "'": re.compile(r"'[^'\n]*'"),
}


def lines_of(text: str) -> dict[Path, int]:
    """Return the line of each table, key and array item of a TOML text that `tomllib` accepts, counted from 1."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


def line_of(lines: Mapping[Path, int], path: Path) -> int:
    """Return the line of a value, or of the innermost table around it that has one."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


class _Scanner:
    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._text = text
        self._at = 0
        self._line, self._counted = 1, 0
        self._items: dict[Path, int] = {}  # of each array of tables, how many there are

    def document(self) -> None:
        """Take note of all that is in the text."""
        table: Path = ()
        self._blank()
        while self._at < len(self._text):
            table = self._header() if self._next("[") else self._pair(table)
            self._blank()

    def _header(self) -> Path:
        """Read `[a.b]` or `[[a.b]]`; return the table that is meant."""
        line, depth = self._here(), 2 if self._text.startswith("[[", self._at) else 1
        self._at += depth
        path = self._through_arrays(self._key(), whole=depth == 1)
        self._at += depth
        if depth == 2:
            number = self._items.get(path, 0)
            self._items[path] = number + 1
            self.lines.setdefault(path, line)
            path = (*path, number)
        self._note(path, line, ())
        return path

    def _through_arrays(self, key: Path, *, whole: bool) -> Path:
        """Return the path of a key in a header: where it leads through an array of tables, the last one is meant."""
        path: Path = ()
        for number, part in enumerate(key):
            path = (*path, part)
            if path in self._items and (whole or number < len(key) - 1):
                path = (*path, self._items[path] - 1)
        return path

    def _pair(self, table: Path) -> Path:
        """Read `key = value`, and return the table in which that stood."""
        line = self._here()
        path = (*table, *self._key())
        self._note(path, line, table)
        self._at += 1  # the equals sign
        self._blank_in_line()
        self._value(path)
        return table

    def _key(self) -> Path:
        parts: list[str | int] = []
        while True:
            self._blank_in_line()
            if self._text[self._at] in "\"'":
                parts.append(self._quoted())
            else:
                parts.append(self._skip(_BARE))
            self._blank_in_line()
            if not self._next("."):
                return tuple(parts)
            self._at += 1

    def _quoted(self) -> str:
        start = self._at
        self._string()
        key: str = tomllib.loads(f"x = {self._text[start : self._at]}")["x"]  # it knows all escapes
        return key

    def _value(self, path: Path) -> None:
        if self._text[self._at] in "\"'":
            self._string()
        elif self._next("["):
            self._array(path)
        elif self._next("{"):
            self._inline(path)
        else:
            self._skip(_SCALAR)

    def _string(self) -> None:
        start = next(start for start in _STRINGS if self._text.startswith(start, self._at))
        self._skip(_STRINGS[start])

    def _array(self, path: Path) -> None:
        self._at += 1
        self._blank()
        number = 0
        while not self._next("]"):
            self.lines[(*path, number)] = self._here()
            self._value((*path, number))
            self._comma()
            number += 1
        self._at += 1

    def _inline(self, path: Path) -> None:
        self._at += 1
        self._blank()
        while not self._next("}"):
            self._pair(path)
            self._comma()
        self._at += 1

    def _comma(self) -> None:
        self._blank()
        if self._next(","):
            self._at += 1
            self._blank()

    def _note(self, path: Path, line: int, table: Path) -> None:
        """The line is that of the path, and of the tables on the way to it that are not written out."""
        for length in range(len(table) + 1, len(path)):
            self.lines.setdefault(path[:length], line)
        self.lines[path] = line

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _next(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            raise ValueError("no TOML that tomllib accepts")
        self._at = found.end()
        return found[0]

    def _blank(self) -> None:
        self._skip(_BLANK)

    def _blank_in_line(self) -> None:
        while self._at < len(self._text) and self._text[self._at] in " \t":
            self._at += 1
