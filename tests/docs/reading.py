"""A reader who does what a page says: runs its programs, writes its files, types its commands, compares the answers."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from tests.docs.fences import Block, answers, commands

ROOT = Path(__file__).parent.parent.parent
SERVERS = ("moto_server", "uvicorn", "celery")  # they go on in a terminal of their own until the page is read
INSTALLED = (
    "pip install",
    "python -m venv",
    "source ",
    "python3 -m venv",
    "git clone",
    "mkdir ",
)  # the tests' environment has it


class Reader:
    """Reads pages in a directory of their own; the blocks of a page are one program."""

    def __init__(self, directory: Path, replace: Mapping[str, str]) -> None:
        self.directory = directory
        self.module = ModuleType("docs_page")
        self.files: dict[str, str] = {}
        self._replace = replace
        self._servers: list[subprocess.Popen[bytes]] = []
        self._environment = self._of_a_terminal()

    def follow(self, block: Block) -> None:
        """Do what one block says."""
        text = self._here(block.text)
        if block.title:
            self.files[block.title] = text
            (self.directory / block.title).write_text(text, encoding="utf-8")
        elif block.language == "python":
            exec(compile(text, "page", "exec"), vars(self.module))
        elif text.strip() == "^C":
            self._stop(self._servers.pop())
        elif block.language == "console":
            for command in commands(Block(block.language, None, text)):
                self._type(command.typed, command.shown)

    def close(self) -> None:
        while self._servers:
            self._stop(self._servers.pop())

    def _type(self, typed: str, shown: str) -> None:
        if typed.startswith(INSTALLED):
            return
        if typed.startswith("export "):
            for setting in shlex.split(typed)[1:]:
                name, _, value = setting.partition("=")
                self._environment[name] = value.replace("$PWD", str(self.directory))
            return
        if typed.startswith(SERVERS):
            self._start(typed)
            return
        ran = subprocess.run(
            ["bash", "-c", typed],
            cwd=self.directory,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=100,
            text=True,
        )
        assert answers(shown, ran.stdout), (
            f"$ {typed}\n(exit {ran.returncode}) answers\n{ran.stdout}\nthe page shows\n{shown}"
        )

    def _start(self, typed: str) -> None:
        log = self.directory / f"server-{uuid.uuid4().hex}.log"
        with log.open("ab") as out:
            server = subprocess.Popen(
                ["bash", "-c", f"exec {typed}"],
                cwd=self.directory,
                env=self._environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._servers.append(server)
        until = time.monotonic() + 100
        while not any(word in log.read_bytes() for word in (b"Running on", b"Uvicorn running", b" ready.")):
            assert server.poll() is None, log.read_text(encoding="utf-8")
            assert time.monotonic() < until, log.read_text(encoding="utf-8")
            time.sleep(0.02)

    def _stop(self, server: subprocess.Popen[bytes]) -> None:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)

    def _here(self, text: str) -> str:
        for theirs, ours in self._replace.items():
            text = text.replace(theirs, ours)
        return text

    def _of_a_terminal(self) -> dict[str, str]:
        """The environment of a terminal in which this tree is installed."""
        programs = self.directory / ".bin"
        programs.mkdir()
        for name, program in {"python": "", "tiercache": "-m tiercache.cli "}.items():
            (programs / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {program}"$@"\n')
            (programs / name).chmod(0o755)
        path = [str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]
        ours = {name: value for name, value in os.environ.items() if not name.startswith("TIERCACHE_SERVERS")}
        return {
            **ours,
            "PATH": os.pathsep.join(path),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "backends"), str(self.directory)]),
            "PYTHONWARNINGS": "error::ResourceWarning",
            "COLUMNS": "140",
            "NO_COLOR": "1",
        }
