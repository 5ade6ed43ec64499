"""What an examination of a tier finds, and how a backend takes part in it: `tiercache doctor` shows it to people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["fault", "warning", "note"]
Permission = Literal["read", "write", "delete", "list", "lifecycle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something about a tier that its operator should know.

    Attributes:
        level: `fault`: the tier cannot be used as it is; `warning`: it costs more, or does less, than it should;
            `note`: as it is meant to be, perhaps.
        about: what was looked at, in a word: `write`, `clock`, `eviction`, `lifecycle`.
        text: what is the case.
        fix: what to do: a sentence, a command or a policy statement; empty: nothing, or the text says it.
        monthly: US dollars a month that it costs; None: unknown, or nothing.
    """

    level: Level
    about: str
    text: str
    fix: str = ""
    monthly: float | None = None


# A backend may have these methods, each of its own; `tiercache.cli.examination` calls those that are there.
#
# def examine(self, *, deadline: float | None = None) -> list[Finding]: what only this kind of store knows of itself.
# def server_time(self, *, deadline: float | None = None) -> float | None: its clock, Unix seconds; None: it has none.
# def allow(self, permission: Permission) -> str: the statement or command that grants it.
