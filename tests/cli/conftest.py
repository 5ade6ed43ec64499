"""`run`: the `tiercache` command in a process of its own, as people start it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = Path(sys.executable).with_name("tiercache")


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout; anything else there fails."""
        return json.loads(self.out)


Run = Callable[..., Ran]
_OF_TESTS = {"COLUMNS", "TIERCACHE_SERVERS_DIR"}


@cache
def installed_here() -> bool:
    """Whether what is installed is this tree, and not another checkout."""
    question = [sys.executable, "-P", "-c", "import tiercache; print(tiercache.__file__)"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    answer = subprocess.run(question, env=environment, capture_output=True, text=True, timeout=120, check=True)
    return Path(answer.stdout.strip()).resolve().is_relative_to(ROOT)


def command() -> list[str]:
    """The installed console script; where there is none, the module that it calls."""
    return [str(SCRIPT)] if SCRIPT.exists() else [sys.executable, "-m", "tiercache.cli"]


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a command: that of the tests, and this tree first where another one is installed."""
    own = {} if installed_here() else {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "backends")])}
    inherited = {name: value for name, value in os.environ.items() if name not in _OF_TESTS}
    return {**inherited, **own, **(changes or {})}


@pytest.fixture
def run() -> Run:
    """Run `tiercache` with arguments and return what it left; its exit code must be `expect`, without a traceback.

    `env` adds variables, `stdin` is what is typed (no terminal), `cwd` is where it starts.
    """

    def run(
        *arguments: str | Path,
        expect: int = 0,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        cwd: Path | None = None,
        timeout: float = 110,
    ) -> Ran:
        done = subprocess.run(
            [*command(), *map(str, arguments)],
            env=environment(env),
            input=stdin,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        ran = Ran(done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in ran.err, ran.err
        assert ran.code == expect, f"exit code {ran.code}, not {expect}\nstdout: {ran.out}\nstderr: {ran.err}"
        return ran

    return run
