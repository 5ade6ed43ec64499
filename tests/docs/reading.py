"""A reader who does what a page says: runs its programs, writes its files, types its commands, compares the answers."""

from __future__ import annotations

import os
import re
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
from tests.docs.unrun import NOT_TYPED
from tiercache import TierChain

ROOT = Path(__file__).parent.parent.parent
SERVERS = ("moto_server", "uvicorn", "celery")  # they go on in a terminal of their own until the page is read
TERMINAL = ("console", "bash", "sh")


class Reader:
    """Reads pages in a directory of their own; the blocks of a page are one program."""

    def __init__(self, directory: Path, replace: Mapping[str, str]) -> None:
        self.directory = directory
        self.module = ModuleType("docs_page")
        self.files: dict[str, str] = {}
        self.chains: list[TierChain] = []
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
        elif block.language in TERMINAL:
            for command in commands(Block(block.language, None, text)):
                self._type(command.typed, command.shown)
        elif block.language == "toml":
            self._load(text)

    def close(self) -> None:
        for chain in self.chains:
            chain.close()
        while self._servers:
            self._stop(self._servers.pop())

    def _load(self, text: str) -> None:
        """Make the chain of a file that stands for itself; of a package's own, let its entry points be found."""
        if entries := re.match(r"\[project\.entry-points\.\"(.+)\"\]", text):
            package = self.directory / "page-1.dist-info"
            package.mkdir()
            (package / "METADATA").write_text("Metadata-Version: 2.1\nName: page\nVersion: 1\n", encoding="utf-8")
            points = text.replace(entries[0], f"[{entries[1]}]").replace('"', "")
            (package / "entry_points.txt").write_text(points, encoding="utf-8")
            return
        file = self.directory / f"block-{uuid.uuid4().hex}.toml"
        file.write_text(text, encoding="utf-8")
        self.chains.append(TierChain.from_toml(file))

    def _type(self, typed: str, shown: str | None) -> None:
        if typed.startswith(tuple(NOT_TYPED)):
            if typed.startswith("make "):
                assert f"\n{typed.split()[1]}:" in (ROOT / "Makefile").read_text(encoding="utf-8"), typed
            return
        if typed.startswith("export "):
            for setting in shlex.split(typed)[1:]:
                name, _, value = setting.partition("=")
                self._environment[name] = value.replace("$PWD", str(self.directory))
            return
        if typed.startswith("unset "):
            for name in typed.split()[1:]:
                self._environment.pop(name, None)
            return
        if typed.startswith(SERVERS):
            self._start(typed)
            return
        ran = subprocess.run(
            ["bash", "-o", "pipefail", "-c", typed],
            cwd=self.directory,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=100,
            text=True,
        )
        well = ran.returncode == 0 if shown is None else answers(shown, ran.stdout)
        assert well, f"$ {typed}\n(exit {ran.returncode}) answers\n{ran.stdout}\nthe page shows\n{shown}"

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
        python = shlex.quote(sys.executable)
        for name, program in {
            "python": f'exec {python} "$@"',
            "tiercache": f'exec {python} -m tiercache.cli "$@"',
            "ssh": 'export TIERCACHE_DIR="$TIERCACHE_DIR/$1"; shift; exec "$@"',  # another machine is another directory
        }.items():
            (programs / name).write_text(f"#!/bin/sh\n{program}\n", encoding="utf-8")
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
