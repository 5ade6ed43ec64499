"""`Sending`: a batch on its way to the store: what is written, and under which name it is tried.

A segment is created, never overwritten: where the name is taken, the store has kept what an earlier attempt sent, whose
answer was lost, for names are never used twice. A store also refuses to create what conflicts with an attempt that is
still under way and may yet fail: so whether the segment is there is asked for before it is believed.

A name says when it was made, and others look for new segments among the names of the last minutes: what is still being
tried after some minutes gets a new name. Should an attempt under the old one arrive after all, the same records are
there twice, with the same stamps: whichever of the two is found, and whatever is written or deleted since, all is as if
they were there once.
"""

from __future__ import annotations

import random
import time

from ..entry import Clock
from ..errors import BackendUnavailable
from ..objectstore.objects import ObjectStore, Upload
from .age import Age
from .naming import SegmentName, new_ulid, object_name
from .pending import Batch
from .segment import Built, build

UPLOAD_SECONDS, UPLOAD_SPEED = 30.0, 2**20
"""Seconds that one attempt to store a segment may take, and one more for so many bytes."""
RENAME_AFTER = 180.0
"""Seconds after which another attempt is made under a new name: with the time that it takes, and for a clock that is
five minutes behind, less than the margin of listings (`names.MARGIN`)."""
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 30.0

_random = random.Random()  # noqa: S311 - no secret


class Sending:
    """A batch and its segment.

    Args:
        batch: what is written.
        prefix: of all names.
        clock: Unix seconds.

    Attributes:
        batch: what is written.
        built: the segment.
        name: what its name says.
    """

    __slots__ = ("_age", "_clock", "_pause", "_prefix", "_upload", "batch", "built", "name")

    def __init__(self, batch: Batch, prefix: str, clock: Clock) -> None:
        self.batch = batch
        self.built: Built = build([held.record for held in batch.held.values()])
        self._prefix = prefix
        self._clock = clock
        self._pause = FIRST_PAUSE
        self._rename()

    def attempt(self, objects: ObjectStore) -> bool:
        """Store the segment; False: an earlier attempt had stored it.

        Raises:
            BackendUnavailable: it was refused and is not there.
            BackendError, ConfigurationError: of the store.
        """
        if self._age.seconds() > RENAME_AFTER:
            if _is_there(objects, self._upload, enough_for(0)):
                return False
            self._rename()
        return create(objects, self._upload, enough_for(len(self.built.body)))

    def pause(self) -> float:
        """Return the seconds until the next attempt; they grow."""
        pause, self._pause = self._pause, min(LONGEST_PAUSE, 2 * self._pause)
        return pause * _random.uniform(0.5, 1.0)

    def _rename(self) -> None:
        bucket, storage_class, _ = self.batch.kind
        self._age = Age(self._clock)
        self.name = SegmentName(bucket, new_ulid(self._clock()), len(self.batch.held), self.built.tail)
        # No `gone_at`: a rule that goes by it would delete a value that ends before the older one that it replaced.
        self._upload = Upload(object_name(self._prefix, self.name), self.built.body, {}, None, storage_class)


def enough_for(size: int) -> float:
    """Return when a request for so many bytes, which nobody waits for, must end, in monotonic seconds."""
    return time.monotonic() + UPLOAD_SECONDS + size / UPLOAD_SPEED


def create(objects: ObjectStore, upload: Upload, due: float | None) -> bool:
    """Store a segment; False: an earlier attempt had stored it.

    Raises:
        BackendUnavailable: it was refused and is not there.
        BackendError: of the store.
    """
    if objects.write(upload, if_absent=True, if_match=None, deadline=due):
        return True
    if not _is_there(objects, upload, due):
        raise BackendUnavailable("the store refused a new segment for the sake of another write", tier_wide=False)
    return False


def _is_there(objects: ObjectStore, upload: Upload, due: float | None) -> bool:
    info = objects.stat(upload.name, deadline=due)
    return info is not None and info.size == len(upload.body)
