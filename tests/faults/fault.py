"""What a row of the fault matrix says, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

OPERATIONS = ("get", "get_many", "set", "delete", "get_or_set")
READS = frozenset({"get", "get_many", "get_or_set"})
WRITES = frozenset({"set", "delete"})
ALL = frozenset(OPERATIONS)
STORES = ("memory", "disk", "redis", "s3", "gcs", "azure", "packed-s3", "packed-gcs", "packed-azure")


@dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
        id: its number in the catalogue of failures, with a letter where it has several forms.
        title: what happens.
        stores: where it can happen.
        inject: a context manager on the scene, within which it happens; what it yields is of no matter.
        kinds: the errors that are counted for an operation that meets it, one of them at least; for single stores in
            `kinds_of`. Empty: none may be counted, and the operation must do what was asked.
        works: the operations that do what was asked in spite of it, as it does not concern them.
        misses: reads that count nothing and may find nothing.
        loose: whether it may pass without an error as well.
        operations: those that can meet it.
        through: the way to the store on which it happens.
        slow: whether it takes an operation's whole deadline.
        fresh: whether it takes a backend that nobody has used.
        from_start: whether the backend meets it before anything else.
        tier: options of the tier.
        act: what is done in place of the operation, with its own checks; then `inject` is not needed.
        faces: the faces that can meet it.
        reasons: why it cannot happen to a store, by store; `""` for the others.
        check: a further check of the answer.
    """

    id: str
    title: str
    stores: tuple[str, ...]
    inject: Callable[[Any], Any] | None = None
    kinds: frozenset[str] = frozenset()
    kinds_of: dict[str, frozenset[str]] = field(default_factory=dict)
    works: frozenset[str] = frozenset()
    misses: frozenset[str] = frozenset()
    loose: bool = False
    operations: frozenset[str] = ALL
    through: str = "server"
    slow: bool = False
    fresh: bool = False
    from_start: bool = False
    tier: dict[str, Any] = field(default_factory=dict)
    act: Callable[[Any], Any] | None = None
    faces: tuple[str, ...] = ("sync", "async")
    reasons: dict[str, str] = field(default_factory=dict)
    check: Callable[[Any, Any], None] | None = None

    def expected(self, kind: str, operation: str) -> frozenset[str]:
        """The errors of which one must be counted."""
        if operation in self.works or operation in self.misses:
            return frozenset()
        return self.kinds_of.get(kind, self.kinds)

    def why_not(self, kind: str) -> str:
        """Why this store has no cell in the row; empty if it has."""
        return "" if kind in self.stores else self.reasons.get(kind) or self.reasons.get("", "it has no such thing")


@dataclass(frozen=True)
class Cell:
    """One fault, one store, one operation, one face."""

    fault: Fault
    kind: str
    operation: str
    face: str

    @property
    def id(self) -> str:
        return f"{self.fault.id}-{self.kind}-{self.operation}"


def cells(catalogue: list[Fault], face: str) -> list[Cell]:
    """All cells of a face."""
    return [
        Cell(fault, kind, operation, face)
        for fault in catalogue
        if face in fault.faces
        for kind in fault.stores
        for operation in OPERATIONS
        if operation in fault.operations
    ]
