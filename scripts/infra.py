"""Checks the Terraform modules in infra/, in an environment of its own that it makes when it is missing."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
CHECKS = ROOT / "infra" / "checks"
ENVIRONMENT = ROOT / ".venv-infra"
PYTHON = ENVIRONMENT / ("Scripts" if sys.platform == "win32" else "bin") / "python"


def prepare() -> str | None:
    """Make the environment, unless it holds what is needed; return why it cannot be made here."""
    wanted, made = (CHECKS / "requirements.txt").read_text(), ENVIRONMENT / ".ready"
    if made.exists() and made.read_text() == wanted:
        return None
    print(f"setting up {ENVIRONMENT.name} (once, a minute)", flush=True)
    venv.create(ENVIRONMENT, with_pip=True, clear=True)
    command = [PYTHON, "-m", "pip", "install", "--quiet", "--requirement", CHECKS / "requirements.txt"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr.strip()
    made.write_text(wanted)
    return None


def main() -> int:
    """Check; a machine that cannot have the tools goes without, and says so, unless it is CI's."""
    if missing := prepare():
        print(f"infra: its tools cannot be installed here, so that nothing was checked:\n{missing}")
        return os.environ.get("CI") == "true"
    return subprocess.run([PYTHON, CHECKS / "check.py"], check=False, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
