"""What an examination of a tier finds, and how a backend takes part in it: `tiercache doctor` shows it to people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

Level = Literal["fault", "warning", "note"]
Permission = Literal["read", "write", "delete", "list", "notices", "lifecycle"]


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


# What a backend may offer beside `Backend`, each by itself; `tiercache doctor` asks those that do.


@runtime_checkable
class Examines(Protocol):
    """A backend that knows more of its store than operations tell."""

    def examine(self, *, deadline: float | None = None) -> list[Finding]:
        """Return what to know of the store; what cannot be seen with these credentials is left out, or a note."""
        ...


@runtime_checkable
class TellsTime(Protocol):
    """A backend whose store has a clock of its own."""

    def server_time(self, *, deadline: float | None = None) -> float | None:
        """Return the store's clock, Unix seconds; None: it did not tell it."""
        ...


@runtime_checkable
class Grants(Protocol):
    """A backend whose store permits some operations to some users."""

    def allow(self, permission: Permission) -> str:
        """Return the statement or command that grants a permission here, for an operator to run or to paste."""
        ...
