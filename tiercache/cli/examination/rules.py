"""Lifecycle rules of a tier's bucket, whichever vendor's and however its entries are laid out."""

from __future__ import annotations

from typing import Any

from ...backend import Backend
from ...errors import ConfigurationError
from ...objectstore import LifecycleChange, ObjectStoreBackend
from ...packed import PackedBackend
from ...packed.naming import BUCKETS, FOLDER
from ...units import Duration

BY_AGE = (
    "a rule goes by age alone: it deletes entries with a longer ttl, or none, as well (an EmbeddingCache's vectors "
    "have none unless they are given one), which therefore belong below a prefix of their own"
)
"""What whoever sets a rule by the ttl of a cache has to know of the entries that say another."""


def has_rules(backend: Backend) -> bool:
    """Whether the tier is in an object store, with lifecycle rules."""
    return isinstance(backend, (ObjectStoreBackend, PackedBackend))


def change_of(
    backend: Backend,
    *,
    expire_after: Duration | None = None,
    life: float | None = None,
    dry_run: bool,
    **place: Any,
) -> LifecycleChange:
    """Make the rules delete what is expired, or with `dry_run` say what would change.

    Args:
        backend: of an object store, packed or not.
        expire_after: how long after its writing an object goes; None: by each entry's own expiry where the store can
            (Google), else after `life`. Packed segments have times of their own.
        life: seconds that entries live by the configuration; None: unknown.
        dry_run: change nothing.
        place: `deadline`, and where Azure keeps the rules.

    Raises:
        ConfigurationError: the store needs `expire_after`, or its rules cannot be reached.
    """
    if isinstance(backend, PackedBackend):
        return backend.apply_lifecycle(dry_run=dry_run, **place)
    if not isinstance(backend, ObjectStoreBackend):
        raise ConfigurationError(f"{backend.scheme}:// has no lifecycle rules")
    try:
        return backend.apply_lifecycle(expire_after=expire_after, dry_run=dry_run, **place)
    except ConfigurationError:
        if expire_after is not None or life is None:
            raise
        return backend.apply_lifecycle(expire_after=life, dry_run=dry_run, **place)


def rules_of(backend: Backend, **place: Any) -> list[tuple[bool, dict[str, Any]]]:
    """Return the rules of the bucket, each with whether it is one of this tier's."""
    inner = backend.inner if isinstance(backend, PackedBackend) else backend
    if not isinstance(inner, ObjectStoreBackend):
        raise ConfigurationError(f"{backend.scheme}:// has no lifecycle rules")
    prefixes = [inner.prefix]
    if inner is not backend:
        prefixes += [f"{inner.prefix}{FOLDER}{name}/" for name, _ in BUCKETS]
    with inner.lifecycle_rules(**place) as (rules, due):
        return [
            (any(rules.owns(rule, prefix) or rules.owns_aged(rule, prefix) for prefix in prefixes), rule)
            for rule in rules.read(deadline=due)
        ]
