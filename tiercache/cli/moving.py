"""What `copy`, `export` and `import` share: filters, a bar, where a run that was broken off goes on, the report."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast
from urllib.parse import parse_qsl, urlsplit

import typer

from .failures import Mistake, No
from .output import counted, progress, say, show_json, show_table, size

if TYPE_CHECKING:
    from ..chain import TierChain
    from ..errors import BackendError
    from ..transfer import CopyReport

Prefix = Annotated[
    str,
    typer.Option("--prefix", metavar="P", help="Only keys that start so: in the namespace, or with namespace: too."),
]
OneNamespace = Annotated[
    str | None, typer.Option("--namespace", "-n", metavar="NAME", help="Only this namespace; left out: all of them.")
]
Tags = Annotated[
    list[str] | None, typer.Option("--tag", metavar="TAG", help="Only entries with this tag; may be repeated: any of.")
]
NewerThan = Annotated[
    str | None, typer.Option("--newer-than", metavar="AGE", help="Only what was made this long ago at most: 30d, 12h.")
]
OverwriteOption = Annotated[
    str, typer.Option("--overwrite", help="What may be overwritten at the destination: older, never, always.")
]
StorageClass = Annotated[
    str | None, typer.Option("--storage-class", metavar="CLASS", help="That the copies get; left out: as they are.")
]
State = Annotated[
    Path | None,
    typer.Option("--state", metavar="FILE", help="Keeps how far it came; the same command with it then goes on."),
]
Resume = Annotated[
    str | None, typer.Option("--resume", metavar="TOKEN", help="Goes on where a run ended that printed this token.")
]
ShowKeys = Annotated[
    bool, typer.Option("--show-keys", help="Also list the keys of entries that could not be copied (1,000 at most).")
]
NOTHING = "nothing to copy: no such entry is in the source; `tiercache ls` shows what there is"
MOST_KEYS = 1000
UNHURRIED = 30.0
"""Seconds that an operation may take at least."""


class Run:
    """A run of a command that moves entries: it is stopped by Ctrl-C, and says how to go on.

    Args:
        what: the command.
        job: what tells this run from others: options and places.
        state: where its progress is kept; None: nowhere.
        resume: a token that somebody typed.
        show_keys: keep the keys of what fails.

    Attributes:
        stop: set by Ctrl-C; the run then ends after the page under way.
        failed: the keys of entries that were not copied, and why.
    """

    def __init__(
        self, what: str, job: Iterable[object], *, state: Path | None, resume: str | None, show_keys: bool
    ) -> None:
        if state is not None and resume is not None:
            raise Mistake("give --state FILE or --resume TOKEN, not both")
        self.stop = threading.Event()
        self.failed: dict[str, str] = {}
        self.resume = resume
        self._what, self._state = what, state
        self._job = hashlib.blake2b(repr([what, *job]).encode(), digest_size=16).hexdigest()
        self._show_keys = show_keys
        self._last: CopyReport | None = None
        if state is not None and state.exists():
            self.resume = self._read(state)

    def on_failure(self, key: str, error: BackendError) -> None:
        """Keep a key, if that was asked for."""
        if self._show_keys and len(self.failed) < MOST_KEYS:
            self.failed[key] = type(error).__name__

    def perform(self, transfer: Callable[[Callable[[CopyReport], None]], CopyReport]) -> CopyReport:
        """Do it with a bar, and keep how far it came.

        Raises:
            PartialFailure: a store failed; what was done is shown before.
            KeyboardInterrupt: somebody pressed Ctrl-C.
        """
        from ..errors import PartialFailure
        from ..transfer import DamagedFile

        with self._interruptible(), progress(bytes_too=True) as bar:
            task: list[Any] = []

            def tell(report: CopyReport) -> None:
                self._last = report
                self._keep(report.resume)
                if not task:
                    task.append(bar.add_task(self._what, total=report.total, unit="entries"))
                bar.update(task[0], completed=report.examined, total=report.total, moved=report.bytes)

            try:
                report = transfer(tell)
            except PartialFailure as failure:
                so_far: CopyReport = failure.results
                self._keep(so_far.resume)
                say(str(so_far))
                if not any(isinstance(error, DamagedFile) for error in failure.failed.values()):
                    self._say_how_to_go_on(so_far)
                for error in failure.failed.values():
                    raise error from failure
                raise
            except KeyboardInterrupt:  # pressed twice
                if self._last is not None:
                    self._say_how_to_go_on(self._last)
                raise
        if report.complete and self._state is not None:
            self._state.unlink(missing_ok=True)
        return report

    def end(self, report: CopyReport, *, as_json: bool, more: dict[str, Any] | None = None) -> None:
        """Show the report, and raise what the exit code says.

        Raises:
            KeyboardInterrupt: it was interrupted.
            No: something could not be copied, or nothing is there.
        """
        self.show(report, as_json=as_json, more=more)
        if not report.complete:
            self._say_how_to_go_on(report)
            raise KeyboardInterrupt
        if report.left:
            why = ", ".join(f"{count:,} {kind}" for kind, count in sorted(report.errors.items()))
            hint = "" if self._show_keys else "; --show-keys lists them"
            raise No(
                f"{counted(report.left, 'entry')} could not be copied ({why}){hint}; run it again to try them again"
            )
        if not report.examined and not self.resume and self._what != "export":
            raise No(NOTHING)

    def show(self, report: CopyReport, *, as_json: bool, more: dict[str, Any] | None = None) -> None:
        """Show the report."""
        from .contents import printable

        if as_json:
            plain = {field.name: getattr(report, field.name) for field in fields(report) if field.name != "deleted"}
            document = plain | {"complete": report.complete} | (more or {})
            show_json(document | ({"keys": self.failed} if self._show_keys else {}))
            return
        counts = [
            ("copied", report.copied),
            ("  of these replaced older ones", report.replaced),
            ("  of these are sealed, and stay so", report.carried),
            ("were there", report.skipped_present),
            ("newer there", report.skipped_newer),
            ("expired", report.skipped_expired),
            ("invalidated", report.skipped_dead),
            ("not asked for", report.skipped_other),
            ("damaged", report.damaged),
            ("sealed with a key that is not at hand", report.sealed),
            ("too large", report.refused),
            ("failed", report.failed),
        ]
        rows = [(what, f"{count:,}") for what, count in counts if count or what == "copied"]
        show_table(["entries", "count"], rows, numbers=["count"])
        say(f"{size(report.bytes)} in {report.seconds:,.1f} s, {report.rate:,.0f} entries/s")
        for key, why in self.failed.items():
            say(f"{why}: {printable(key)}")

    def _say_how_to_go_on(self, report: CopyReport) -> None:
        if report.complete:
            return
        if self._what == "export":
            say("export again: a file is whole, or it is not there")
        elif self._state is not None:
            say(f"to go on, type the same command again: --state {self._state} knows how far it came")
        elif report.resume:
            say(f"to go on, type the same command again, with --resume {_quoted(report.resume)}")
        else:
            say("type the same command again: it begins anew, and what is there is skipped")

    def _read(self, state: Path) -> str | None:
        try:
            kept = json.loads(state.read_text("utf-8"))
            job, token = str(kept["job"]), kept["resume"]
        except (OSError, ValueError, TypeError, KeyError):
            raise Mistake(f"{state} is no state of a copy: delete it, or name another file") from None
        if job != self._job:
            raise Mistake(f"{state} is the state of another run: name another file, or delete it to begin anew")
        return cast(str | None, token)

    def _keep(self, token: str | None) -> None:
        """Write the state anew, in one step."""
        if self._state is None:
            return
        part = self._state.with_name(f".{self._state.name}.part")
        try:
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"job": self._job, "resume": token}, file)
            os.replace(part, self._state)
        except OSError as error:
            raise Mistake(f"{self._state} cannot be written: {error.strerror}") from None

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Let the first Ctrl-C end the run after the page under way, and a second one at once."""

        def asked(number: int, frame: Any) -> None:
            if self.stop.is_set() or self._what == "export":
                raise KeyboardInterrupt
            self.stop.set()
            say("ending after what is under way; Ctrl-C once more ends at once")

        before = signal.signal(signal.SIGINT, asked)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def places(texts: Iterable[str]) -> list[str]:
    """Return URLs without what is secret in them, to tell one place from another."""
    told = []
    for text in texts:
        parts = urlsplit(text)
        options = [(name, each) for name, each in parse_qsl(parts.query) if name in ("prefix", "db", "layout")]
        told.append(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path} {options}")
    return told


def check_lasting(chain: TierChain, what: str) -> None:
    """Raise where a chain has nothing that outlives this command."""
    if not any(tier.persists for tier in chain.tiers):
        raise Mistake(f"memory:// is empty, and ends with this command: name a tier that lasts as the {what}")


def unhurry(*chains: TierChain) -> None:
    """Give the stores time, before they are first used: nobody waits for an answer, and what is moved is much."""
    for chain in chains:
        for tier in chain.tiers:
            if tier.timeout is not None and tier.timeout < UNHURRIED:
                tier.timeout = tier.backend.timeout = UNHURRIED


def may_carry(*chains: TierChain) -> bool:
    """Whether nobody has keys, so that sealed entries can only be carried as they are."""
    from ..envelope import envelope_of

    return not any(envelope_of(tier.backend).sealed for chain in chains for tier in chain.tiers)


def _quoted(token: str) -> str:
    import shlex

    return shlex.quote(token)
