"""How the next answers misbehave, and gates that hold them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

AS_ALWAYS = "\0as always"  # a content that nobody asks for


class Gate:
    """Holds an answer after so many chunks of its body (0: before the status line) until it is opened."""

    def __init__(self, after: int = 0) -> None:
        self.after = after
        self.reached = threading.Event()
        self._opened = threading.Event()

    def open(self) -> None:
        self._opened.set()

    def pass_through(self) -> None:
        self.reached.set()
        self._opened.wait(60)


@dataclass(frozen=True, kw_only=True)
class Script:
    """What is different about one answer; the package's docstring says what each means."""

    kind: str | None = None
    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    retry_after: float | None = None
    redirect: str | None = None
    error: bool = False
    then_end: bool = False
    finish: str | None = None
    empty: bool = False
    content: str | None = AS_ALWAYS
    malformed: bool = False
    cut: int | None = None
    drop: bool = False
    no_end: bool = False
    delay: float = 0
    chunks: int | Sequence[int] | None = None
    chunked: bool = False
    encoding: str | None = None
    padding: int = 0
    crlf: bool = False
    comments: bool = False
    hold: Gate | None = None


class Scripts:
    """A queue of scripts: the first that fits a request is used up by it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: list[Script] = []
        self._always = Script()
        self._gates: list[Gate] = []

    def add(self, script: Script, times: int = 1) -> None:
        with self._lock:
            self._queue += [script] * times
            self._gates += [script.hold] if script.hold else []

    def always(self, script: Script) -> None:
        with self._lock:
            self._always = script
            self._gates += [script.hold] if script.hold else []

    def take(self, kind: str) -> Script:
        with self._lock:
            for index, script in enumerate(self._queue):
                if script.kind in (None, kind):
                    return self._queue.pop(index)
            return self._always if self._always.kind in (None, kind) else Script()

    def forget(self) -> None:
        with self._lock:
            self._queue.clear()
            self._always = Script()
            gates, self._gates = self._gates, []
        for gate in gates:
            gate.open()
