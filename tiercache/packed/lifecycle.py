"""`apply_lifecycle`: the store itself deletes segments whose entries are all expired, for nothing, by their folders.

Entries stand in a segment of the bucket of their remaining life, rounded up, and a segment is written after they were
put: when it is as old as its bucket is long, nothing in it can be read any more.
"""

from __future__ import annotations

from typing import Any

from ..objectstore import LifecycleChange, ObjectStoreBackend
from ..objectstore.lifecycle import Rule, replace, whole_days
from .naming import BUCKETS, FOLDER, KEEP


def apply_lifecycle(
    inner: ObjectStoreBackend, *, dry_run: bool = False, deadline: float | None = None, **place: Any
) -> LifecycleChange:
    """Make the bucket's lifecycle rules delete segments whose entries are all expired.

    There is a rule for each bucket of lives, and none for entries that live longer or for ever: `compact` finds what of
    them is dead. A rule that `ObjectStoreBackend.apply_lifecycle` made for the whole prefix is removed, as it would
    delete segments before their time. Rules of others are kept. Called again, it changes nothing. It reads and
    replaces the whole configuration, so that another tool which changes it at the same moment may undo this, or be
    undone.

    Args:
        inner: the backend that keeps the segments.
        dry_run: say what would change, and change nothing.
        deadline: seconds of `time.monotonic`; None: as the inner backend does it.
        place: where the rules are kept, if the inner backend's `lifecycle_rules` wants to know it (Azure:
            `subscription_id`, `resource_group`, `credential`, `management_url`).

    Raises:
        ConfigurationError: the rules cannot be reached from here.
        AccessDenied: the credentials of a cache client do not allow it (they should not); use an operator's.
    """
    days = {_folder(inner, name): whole_days(seconds) for name, seconds in BUCKETS if name != KEEP}
    ours = [*days, _folder(inner, KEEP), inner.prefix]
    with inner.lifecycle_rules(deadline=deadline, **place) as (rules, due):
        wanted = [rule for folder, count in days.items() for rule in rules.aged(folder, count)]

        def is_ours(rule: Rule) -> bool:
            return any(rules.owns_aged(rule, prefix) for prefix in ours)

        return replace(rules, wanted, is_ours, dry_run=dry_run, deadline=due)


def _folder(inner: ObjectStoreBackend, name: str) -> str:
    return f"{inner.prefix}{FOLDER}{name}/"
