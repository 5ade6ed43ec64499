"""`StorageClassRule`: which storage class a tier in an object store keeps an entry in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .entry import AttributeValue, Entry, Metadata
from .errors import ConfigurationError
from .units import Duration, Size, parse_duration, parse_size

GRACE = 60.0
"""Seconds by which a life may fall short of a minimum: it is measured a moment after somebody said `ttl="30d"`."""


@dataclass(frozen=True, slots=True, init=False)
class StorageClassRule:
    """A class, and the entries that go there: those for which every condition holds that is given.

    `Tier(backend, storage_classes=[…])` takes several; the first that holds decides, and without one the backend's
    own class. A class that `cache.set(…, storage_class=…)` names comes before all rules.

    Args:
        storage_class: as the store calls it, such as `"GLACIER_IR"` or `"Cool"`.
        min_bytes: the payload has so many bytes or more, before compression (`"128KiB"`).
        min_ttl: the entry stays in the store for so long or longer, `stale_for` included (`"90d"`); one that never
            expires does.
        tag: the entry carries this tag.
        attributes: the entry's attributes have these values.

    Raises:
        ConfigurationError: a condition has no such value. (Whether the store has the class, the `Tier` says.)
    """

    storage_class: str
    min_bytes: int | None
    min_ttl: float | None
    tag: str | None
    attributes: Mapping[str, AttributeValue]

    def __init__(
        self,
        storage_class: str,
        *,
        min_bytes: Size | None = None,
        min_ttl: Duration | None = None,
        tag: str | None = None,
        attributes: Mapping[str, AttributeValue] | None = None,
    ) -> None:
        if not isinstance(storage_class, str) or not storage_class:
            raise ConfigurationError("a StorageClassRule needs the name of a class, such as 'STANDARD_IA'")
        if tag is not None and not isinstance(tag, str):
            raise ConfigurationError(f"tag must be one str, not {type(tag).__name__}")
        if attributes is not None and not isinstance(attributes, Mapping):
            raise ConfigurationError(f"attributes must be a dict, not {type(attributes).__name__}")
        fields = {
            "storage_class": str(storage_class),
            "min_bytes": None if min_bytes is None else parse_size(min_bytes, "min_bytes"),
            "min_ttl": None if min_ttl is None else parse_duration(min_ttl, "min_ttl"),
            "tag": tag,
            "attributes": dict(attributes or {}),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @property
    def takes_all(self) -> bool:
        """Whether it has no condition."""
        return (self.min_bytes, self.min_ttl, self.tag, dict(self.attributes)) == (None, None, None, {})

    def holds(self, entry: Entry, now: float) -> bool:
        """Whether an entry that is written now goes to the class."""
        if self.min_bytes is not None and len(entry.payload) < self.min_bytes:
            return False
        metadata = entry.metadata
        life = remaining_life(metadata, now)
        if self.min_ttl is not None and life is not None and life + GRACE < self.min_ttl:
            return False
        if self.tag is not None and self.tag not in metadata.tags:
            return False
        found, missing = metadata.attributes, object()
        return all(found.get(name, missing) == value for name, value in self.attributes.items())


def chosen_class(rules: Iterable[StorageClassRule], entry: Entry, now: float) -> str | None:
    """Return the class of the first rule that holds for an entry that is written now; None: of none."""
    return next((rule.storage_class for rule in rules if rule.holds(entry, now)), None)


def checked_rules(rules: Iterable[StorageClassRule]) -> tuple[StorageClassRule, ...]:
    """Return the rules, or raise a ConfigurationError for what are none."""
    if isinstance(rules, (str, bytes)) or not isinstance(rules, Iterable):
        raise ConfigurationError(f"storage_classes must be a list of StorageClassRule, not a {type(rules).__name__}")
    checked = tuple(rules)
    for rule in checked:
        if not isinstance(rule, StorageClassRule):
            raise ConfigurationError(f"storage_classes holds a {type(rule).__name__}; write StorageClassRule(…)")
    return checked


def remaining_life(metadata: Metadata, now: float) -> float | None:
    """Return the seconds for which a store keeps the entry from now on, stale time included; None: for ever."""
    return None if metadata.gone_at is None else metadata.gone_at - now
