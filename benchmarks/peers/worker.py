"""A process for each library's rows: one that hangs or dies costs its row, and the next row gets a new process."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import home

HANG_SECONDS = 180.0
_MARK = "outcome: "
_RUN = Path(__file__).parent / "run.py"


class Worker:
    """Runs rows of one library in a process of its own."""

    def __init__(self, file: str, redis: str | None) -> None:
        self._command = [sys.executable, str(_RUN), "--worker", file, *(["--redis", redis] if redis else [])]
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()

    def run(self, row: str, setting: str) -> dict[str, str]:
        """Run a row; return its verdict and what happened."""
        process, last = self._started(), "it said nothing"
        assert process.stdin is not None
        process.stdin.write(json.dumps([row, setting]) + "\n")
        process.stdin.flush()
        give_up = time.monotonic() + HANG_SECONDS
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, give_up - time.monotonic()))
            except queue.Empty:
                self.end()
                return {"verdict": "fail", "happened": f"it hung, and was ended after {HANG_SECONDS:.0f} s"}
            if line is None:
                code = process.wait()
                self.end()
                return {"verdict": "fail", "happened": f"the process died ({code}): {last}"[:200]}
            if line.startswith(_MARK):
                return dict(json.loads(line.removeprefix(_MARK)))
            last = line.strip() or last

    def end(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            pipe, both = subprocess.PIPE, subprocess.STDOUT
            self._process = subprocess.Popen(
                self._command, stdin=pipe, stdout=pipe, stderr=both, text=True, env=home.variables()
            )
            self._lines = queue.Queue()
            threading.Thread(target=_read, args=(self._process, self._lines), daemon=True).start()
        return self._process


def _read(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert process.stdout is not None
    with contextlib.suppress(ValueError):  # closed
        for line in process.stdout:
            lines.put(line)
    lines.put(None)


def serve(file: str, redis: str | None) -> None:
    """Be that process: run the rows that are asked for, and leave without waiting for what may hang."""
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        row, setting = json.loads(line)
        print(_MARK + json.dumps(outcome(file, row, setting, redis)), flush=True)
    os._exit(0)


def outcome(file: str, row: str, setting: str, redis: str | None) -> dict[str, str]:
    """Run one row for one library in one setting, in this process."""
    import defects  # noqa: F401 - makes the rows known
    import libraries
    from bench import ROWS, Bench
    from library import NotOfferedError

    library, program = libraries.load(file), ROWS[row]
    bench = Bench(library, library.settings_of(program.topic)[setting], redis)
    try:
        ended = program.run(bench)
    except NotOfferedError as reason:
        return {"verdict": "n/a", "happened": str(reason)}
    except Exception as error:
        return {"verdict": "fail", "happened": f"the row ended with {type(error).__name__}: {error}"[:300]}
    finally:
        bench.close()
    return {"verdict": ended.verdict, "happened": ended.happened}
