"""Lifecycle rules: the store itself deletes what is expired, for nothing, once a day.

A vendor says how its rules are read and written, which one it wants for a prefix, and which are its own; what belongs
to others is written back as it was read.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigurationError
from ..units import Duration, parse_duration

Rule = dict[str, Any]
"""A rule as the vendor's API spells it."""
_DAY = 86_400


class LifecycleRules(ABC):
    """The lifecycle rules of one bucket."""

    @abstractmethod
    def read(self, *, deadline: float | None) -> list[Rule]:
        """Return all rules, in one spelling: equal ones compare equal to what `wanted` makes."""

    @abstractmethod
    def write(self, rules: Sequence[Rule], *, deadline: float | None) -> None:
        """Replace all rules by these; there is one at least, as `wanted` makes some."""

    @abstractmethod
    def wanted(self, prefix: str, expire_after_days: int | None) -> list[Rule]:
        """Return the rules that delete expired entries below the prefix.

        Args:
            prefix: the backend's, empty or ending in `/`.
            expire_after_days: days after its writing at which every object goes; None: only by its own expiry, for
                stores that can (GCS); others raise ConfigurationError.
        """

    @abstractmethod
    def owns(self, rule: Rule, prefix: str) -> bool:
        """Whether the rule is one that `wanted` made for this prefix, now or with other days."""

    def aged(self, prefix: str, days: int) -> list[Rule]:
        """Return the rules that delete every object below the prefix so many days after its writing.

        Where objects can say themselves when they go (GCS), that is left out.
        """
        return self.wanted(prefix, days)

    def owns_aged(self, rule: Rule, prefix: str) -> bool:
        """Whether the rule is one that `aged` made for this prefix, now or with other days."""
        return self.owns(rule, prefix)


@dataclass(frozen=True, slots=True)
class LifecycleChange:
    """What `apply_lifecycle` changed, or would change.

    Attributes:
        added: rules that are new.
        removed: rules of ours that went.
        kept: rules of others, and those of ours that are as they should be.
        applied: whether it was done; False for a dry run, and when there is nothing to do.
    """

    added: tuple[Rule, ...]
    removed: tuple[Rule, ...]
    kept: tuple[Rule, ...]
    applied: bool = False

    def __bool__(self) -> bool:
        """Whether there is, or was, something to change."""
        return bool(self.added or self.removed)

    def __str__(self) -> str:
        lines = [f"- {json.dumps(rule)}" for rule in self.removed]
        lines += [f"+ {json.dumps(rule)}" for rule in self.added]
        lines += [f"  {json.dumps(rule)}" for rule in self.kept]
        state = "applied" if self.applied else "not applied" if self else "nothing to change"
        return "\n".join([f"lifecycle rules, {state}:", *lines])


def apply(
    rules: LifecycleRules, prefix: str, expire_after: Duration | None, *, dry_run: bool, deadline: float | None
) -> LifecycleChange:
    """Make the rules of a bucket delete what is expired below the prefix (see `ObjectStoreBackend.apply_lifecycle`)."""
    wanted = rules.wanted(prefix, None if expire_after is None else whole_days(expire_after))
    return replace(rules, wanted, lambda rule: rules.owns(rule, prefix), dry_run=dry_run, deadline=deadline)


def replace(
    rules: LifecycleRules,
    wanted: Sequence[Rule],
    is_ours: Callable[[Rule], bool],
    *,
    dry_run: bool,
    deadline: float | None,
) -> LifecycleChange:
    """Have a bucket hold the wanted rules in place of those of ours, with one read and one write at most.

    Args:
        rules: the bucket's.
        wanted: those of ours that are to be there; one at least.
        is_ours: which of those that are there may go; the others are kept.
        dry_run: say what would change, and change nothing.
        deadline: seconds of `time.monotonic`, or None.
    """
    before = rules.read(deadline=deadline)
    mine = [rule for rule in before if is_ours(rule)]
    change = LifecycleChange(
        added=tuple(rule for rule in wanted if rule not in mine),
        removed=tuple(rule for rule in mine if rule not in wanted),
        kept=tuple(rule for rule in before if rule not in mine or rule in wanted),
    )
    if dry_run or not change:
        return change
    rules.write([*change.kept, *change.added], deadline=deadline)
    return LifecycleChange(change.added, change.removed, change.kept, applied=True)


def whole_days(duration: Duration) -> int:
    """Return the days of a duration, rounded up: no store deletes by the hour."""
    return math.ceil(parse_duration(duration, "expire_after") / _DAY)


def needs_days(store: str, expire_after_days: int | None) -> int:
    """Return the days; where they are missing, say why the store needs them."""
    if expire_after_days is None:
        raise ConfigurationError(
            f"{store} cannot delete by each object's own expiry: give expire_after, the longest ttl (and stale_for)"
        )
    return expire_after_days
