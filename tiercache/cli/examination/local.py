"""What this machine gives a tier: room on the disk, the modes of a file, memory."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from ...backend import Backend
from ...disk import DiskBackend
from ...findings import Finding
from ...memory import MemoryBackend
from ..output import size

_OVER = 1.25
"""How much larger than its envelopes a cache file grows."""
_REMOTE = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "lustre")


def of_machine(backend: Backend) -> list[Finding]:
    """Return what to know of a tier that lives on this machine; nothing for others."""
    if isinstance(backend, DiskBackend):
        return list(_disk(backend))
    return list(_memory(backend)) if isinstance(backend, MemoryBackend) else []


def _disk(backend: DiskBackend) -> Iterator[Finding]:
    path = backend.path
    try:
        free, mode, taken = shutil.disk_usage(path.parent).free, path.stat().st_mode, path.stat().st_size
    except OSError as error:
        yield Finding(level="note", about="disk", text=f"the file was not looked at: {error.strerror}")
        return
    wanted = backend.max_bytes * _OVER - taken
    if wanted > free:
        yield Finding(
            level="warning",
            about="disk",
            text=f"the file may grow by {size(wanted)}, and {size(free)} are free there: writes will be refused",
            fix="free some, move it (TIERCACHE_DIR, or disk:///path), or lower its max_bytes",
        )
    others = stat.S_IRWXG | stat.S_IRWXO
    if os.name != "nt" and mode & others:
        yield Finding(
            level="warning",
            about="mode",
            text=f"others on this machine may open the file (mode {stat.S_IMODE(mode):04o}), and it holds prompts",
            fix=f"chmod 600 {path}",
        )
    if kind := _network(path):
        yield Finding(
            level="warning",
            about="disk",
            text=f"the file is on a network file system ({kind}): its locks do not hold there, and it may be damaged",
            fix="put it on a local disk, and share what is to be shared through Redis or an object store",
        )


def _network(path: Path) -> str:
    """The kind of the file system, if it is one of a network; empty where that cannot be told."""
    try:
        mounts = Path("/proc/mounts").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    places = [line.split()[1:3] for line in mounts if len(line.split()) > 2]
    above = [(place, kind) for place, kind in places if path.is_relative_to(place)]
    kind = max(above, key=lambda mount: len(mount[0]), default=("", ""))[1]
    return kind if kind in _REMOTE else ""


def _memory(backend: MemoryBackend) -> Iterator[Finding]:
    if backend.max_bytes is None and backend.max_entries is None:
        yield Finding(
            level="warning",
            about="size",
            text="it has no bound: it grows with every entry until the system ends the process",
            fix="memory://?max_bytes=256MiB",
        )
    elif backend.max_bytes is not None and (there := _installed()) and backend.max_bytes > there / 2:
        yield Finding(
            level="warning",
            about="memory",
            text=f"max_bytes is {size(backend.max_bytes)} for each process, and the machine has {size(there)}",
            fix="lower max_bytes: what all processes take together must fit",
        )


def _installed() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
