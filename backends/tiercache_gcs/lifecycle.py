"""Google Cloud Storage's lifecycle rules: each object goes after its own custom time, which is when its entry ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from tiercache.objectstore.lifecycle import LifecycleRules, Rule

from .client import Link

Calling = Callable[[str, float | None], AbstractContextManager[Link]]
_DELETE = {"type": "Delete"}


class GCSLifecycle(LifecycleRules):
    """The rules of one bucket. They have no names: ours are known by what they do.

    Args:
        path: the bucket's in the API.
        calling: lends the client (`SdkStore.calling`).
    """

    def __init__(self, path: str, calling: Calling) -> None:
        self._path = path
        self._calling = calling

    def read(self, *, deadline: float | None) -> list[Rule]:
        """Get the bucket's configuration."""
        with self._calling("buckets.get", deadline) as link:
            answer = link.ask("GET", self._path, {"fields": "lifecycle"})
        return [dict(rule) for rule in answer.get("lifecycle", {}).get("rule", ())]

    def write(self, rules: Sequence[Rule], *, deadline: float | None) -> None:
        """Replace the rules in it."""
        with self._calling("buckets.patch", deadline) as link:
            link.ask("PATCH", self._path, {"fields": "lifecycle"}, {"lifecycle": {"rule": list(rules)}})

    def wanted(self, prefix: str, expire_after_days: int | None) -> list[Rule]:
        """Delete what is past its custom time; and, if asked for, what was written so many days ago."""
        rules = [_by_itself(prefix)]
        return rules if expire_after_days is None else [*rules, *self.aged(prefix, expire_after_days)]

    def owns(self, rule: Rule, prefix: str) -> bool:
        """Whether it has the form of ours for exactly this prefix; one more condition, and it is somebody else's."""
        return rule == _by_itself(prefix) or self.owns_aged(rule, prefix)

    def aged(self, prefix: str, days: int) -> list[Rule]:
        """Delete what was written so many days ago."""
        # Without a prefix, `isLive` tells the rule from one that somebody else made for the whole bucket.
        condition = {"age": days} | ({} if prefix else {"isLive": True}) | _below(prefix)
        return [{"action": _DELETE, "condition": condition}]

    def owns_aged(self, rule: Rule, prefix: str) -> bool:
        """Whether it has the form of `aged` for exactly this prefix."""
        return rule in self.aged(prefix, rule.get("condition", {}).get("age"))


def _by_itself(prefix: str) -> Rule:
    return {"action": _DELETE, "condition": {"daysSinceCustomTime": 0} | _below(prefix)}


def _below(prefix: str) -> Rule:
    return {"matchesPrefix": [prefix]} if prefix else {}
