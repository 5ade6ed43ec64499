"""The fenced blocks of a page: programs, files, and what is typed into a terminal with what it answers."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^( *)```([a-z]*)([^\n`]*)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
_TITLE = re.compile(r'title="([^"]+)"')
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the file it is the content of, and its text."""

    language: str
    title: str | None
    text: str

    @property
    def first_line(self) -> str:
        return self.text.partition("\n")[0]


@dataclass(frozen=True)
class Command:
    """A line typed into a terminal, and what the page shows below it: `…` is anything, None: it shows nothing."""

    typed: str
    shown: str | None


def blocks(page: Path) -> list[Block]:
    """Every fenced block, in order; its language is empty where it names none."""
    found = []
    for _, language, info, text in _FENCE.findall(page.read_text(encoding="utf-8")):
        title = _TITLE.search(info)
        found.append(Block(language, title and title[1], textwrap.dedent(text)))
    return found


def commands(block: Block) -> Iterator[Command]:
    """The commands of a block; a line that ends in a backslash goes on.

    In one of console each stands behind a `$`, with what it answers below it; in others there are commands alone.
    """
    if block.language != "console":
        yield from (Command(typed, None) for typed in re.split(r"(?<!\\)\n", block.text) if typed.split("#")[0].strip())
        return
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        typed = [lines.pop(0)]
        while typed[-1].endswith("\\"):
            typed.append(lines.pop(0))
        yield Command("\n".join(typed), "\n".join(lines).strip())


def pattern(shown: str) -> re.Pattern[str]:
    """What an answer has to match: white space counts as one blank, `…` as anything."""
    words = [re.escape(part) for part in _flat(shown).split("…")]
    return re.compile(".*?".join(words), re.DOTALL)


def answers(shown: str, answer: str) -> bool:
    """Whether a command said what the page shows."""
    return pattern(shown).fullmatch(_flat(_ANSI.sub("", answer))) is not None


def _flat(text: str) -> str:
    return " ".join(text.split())
