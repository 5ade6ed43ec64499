"""`CopyReport`: what became of each entry of a copy, so far or in all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..packed import MigrationReport


@dataclass(frozen=True, slots=True)
class CopyReport(MigrationReport):
    """What a copy did, so far or in all. Every entry that was examined is in one of the other counts, by its fate.

    Attributes:
        replaced: of those copied, how many took the place of an older entry.
        skipped_present: that the destination has as they are, or may not be compared and stay.
        skipped_newer: of which the destination has a newer one, or deleted them since.
        skipped_dead: that were invalidated (`clear`, `invalidate_tags`), in the source or in the destination.
        skipped_other: that the filters leave out, as far as a listing did not do so already.
        sealed: that are sealed with a key which is not at hand, and cannot be carried unopened.
        failed: that could not be read or written, several times; copy again to try again.
        carried: of those copied, how many are sealed and were carried unopened.
        errors: how often each kind of error, by its name, cost an entry (damaged, refused, sealed, failed).
        total: how many entries the source has, where it knows; expired ones may be among them.
    """

    replaced: int = 0
    skipped_newer: int = 0
    skipped_dead: int = 0
    skipped_other: int = 0
    sealed: int = 0
    failed: int = 0
    carried: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    total: int | None = None

    @property
    def skipped(self) -> int:
        """Entries that were left where they are, for a good reason."""
        return self.skipped_present + self.skipped_newer + self.skipped_expired + self.skipped_dead + self.skipped_other

    @property
    def left(self) -> int:
        """Entries that should have been copied, and were not."""
        return self.damaged + self.refused + self.sealed + self.failed

    def __str__(self) -> str:
        counts = (
            (self.replaced, "of these replaced older ones"),
            (self.carried, "of these sealed and carried unopened"),
            (self.skipped_present, "were there"),
            (self.skipped_newer, "newer there"),
            (self.skipped_expired, "expired"),
            (self.skipped_dead, "invalidated"),
            (self.skipped_other, "not asked for"),
            (self.damaged, "damaged"),
            (self.sealed, "sealed with a key that is not at hand"),
            (self.refused, "too large"),
            (self.failed, "failed"),
        )
        return (
            f"{self.copied:,} of {self.examined:,} entries copied, {self.bytes:,} bytes"
            f"{''.join(f'; {count:,} {what}' for count, what in counts if count)}; "
            f"{self.rate:,.0f} a second{'' if self.complete else '; not complete, resume to go on'}"
        )
