"""A disk tier whose file is not there yet: it is tried in a file beside it, so that a look makes no empty cache."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from ...disk import DiskBackend
from ...findings import Finding
from ...tier import Tier


def tried_elsewhere(tier: Tier, path: Path, look: Callable[[Tier], list[Finding]]) -> list[Finding]:
    """Examine a tier by a file of a moment, in the directory where its own would be made.

    Args:
        tier: whose file is not there.
        path: that file.
        look: examines a tier and returns what it found.
    """
    unmade = Finding(
        level="note",
        about="file",
        text=f"there is no file {path}: the cache is new, or this is not its path",
        fix="none, if no program has used it: its first write makes the file. Else correct the path "
        "(disk:///absolute/path, disk://relative/path)",
    )
    above = next(parent for parent in path.parents if parent.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".tiercache-doctor-", dir=above) as directory:
            stand_in = copy.copy(tier)
            with closing(DiskBackend(Path(directory, "trial"))) as backend:
                stand_in.backend = backend
                return [*look(stand_in), unmade]
    except OSError as error:
        text = f"the file {path} is not there, and cannot be made: {error.strerror or type(error).__name__} ({above})"
        return [Finding(level="fault", about="file", text=text, fix="make its directory writable, or correct the path")]
