"""`CompactionReport`: what a compaction did, so far or in all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class CompactionReport:
    """What a compaction did, so far or in all.

    Attributes:
        segments: that there were when it began.
        merged: segments whose live entries were copied into others.
        written: segments that were written.
        entries: that were copied.
        deleted: segments that are gone now, merged ones included.
        deleted_bytes, written_bytes, read_bytes: of the segments that were deleted, written and read.
        young: segments that were left alone because their storage class bills them for longer (`early=True` does not).
        damaged: segments that were left alone because they cannot be read.
        requests: requests that were sent to the store, at most.
        failed: groups of segments, or segments, that failed, by kind of error.
        busy: whether another process is compacting, or took over: this one stopped.
        complete: whether everything was done; else call it again (a budget or the deadline ended, a listing lags).
    """

    segments: int = 0
    merged: int = 0
    written: int = 0
    entries: int = 0
    deleted: int = 0
    deleted_bytes: int = 0
    written_bytes: int = 0
    read_bytes: int = 0
    young: int = 0
    damaged: int = 0
    requests: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    busy: bool = False
    complete: bool = True

    @property
    def freed(self) -> int:
        """Bytes that the store holds less than before; negative while merged segments are not deleted yet."""
        return self.deleted_bytes - self.written_bytes

    def __str__(self) -> str:
        if self.busy and not self.deleted and not self.written:
            return "another process is compacting; nothing was done"
        failed = "".join(f", {count:,} failed ({kind})" for kind, count in sorted(self.failed.items()))
        left = self.young + self.damaged
        return (
            f"{self.deleted:,} of {self.segments:,} segments deleted, {self.written:,} written with {self.entries:,} "
            f"entries, {self.freed:,} bytes freed{f', {left:,} left alone' if left else ''}{failed}; "
            f"{self.requests:,} requests"
            f"{'; another process took over' if self.busy else ''}"
            f"{'' if self.complete else '; not finished, call it again to go on'}"
        )


Progress = Callable[[CompactionReport], object]
