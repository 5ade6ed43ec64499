"""`Selection`: which entries are meant: by namespace, prefix, tags and age."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..entry import Entry
from ..errors import ConfigurationError
from ..keys import check_namespace
from ..options import checked_tags
from ..units import Duration, parse_duration
from .opaque import is_opaque


@dataclass(frozen=True, slots=True)
class Selection:
    """Which entries are meant.

    Attributes:
        prefix: what their full keys start with; empty: all.
        tags: of which they carry at least one; empty: whatever they carry.
        since: the moment (Unix seconds) at which their load began at the earliest; None: whenever.
    """

    prefix: str = ""
    tags: frozenset[str] = frozenset()
    since: float | None = None

    @classmethod
    def of(
        cls,
        *,
        prefix: str = "",
        namespace: str | None = None,
        tags: Iterable[str] = (),
        newer_than: Duration | None = None,
        now: float,
    ) -> Selection:
        """Return the selection that somebody's options describe.

        Raises:
            ConfigurationError: an option has no such value.
        """
        if not isinstance(prefix, str):
            raise ConfigurationError(f"prefix must be text, not of type {type(prefix).__name__}")
        start = f"{check_namespace(namespace)}:" if namespace is not None else ""
        since = None if newer_than is None else now - parse_duration(newer_than, "newer_than")
        return cls(start + prefix, frozenset(checked_tags(tags)), since)

    @property
    def is_all(self) -> bool:
        """Whether everything is meant."""
        return not (self.prefix or self.needs_metadata)

    @property
    def needs_metadata(self) -> bool:
        """Whether the entry itself must be read to decide."""
        return bool(self.tags) or self.since is not None

    def takes(self, entry: Entry) -> bool:
        """Whether an entry is meant; one that is sealed, and not opened, only where nothing inside it matters."""
        metadata = entry.metadata
        if not metadata.key.startswith(self.prefix):
            return False
        if is_opaque(entry):
            return not self.needs_metadata
        if self.tags and self.tags.isdisjoint(metadata.tags):
            return False
        return self.since is None or metadata.loaded_at >= self.since
