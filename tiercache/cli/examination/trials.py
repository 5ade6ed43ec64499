"""Trials: an entry of the check's own is missed, written, read, listed, replaced and deleted, and always cleaned up."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from ... import keys
from ...backend import Backend
from ...coherence.carrier import NoticeCarrier
from ...entry import Entry, Metadata
from ...errors import AccessDenied, ConfigurationError
from ...findings import Finding, Grants, Permission
from ...objectstore import ObjectStoreBackend
from ...tier import Tier
from .notices import travel

State = Literal["ok", "denied", "fails", "unknown", "not needed"]
LIFE = 60.0
"""Seconds after which a trial's entry is a miss, should its deletion fail."""
_PREFIX = f"{keys.RESERVED}:doctor:"
_NEEDED: dict[str, str] = {
    "read": "every read through this tier is an error",
    "write": "nothing is stored in this tier",
    "delete": "what is deleted or invalidated elsewhere would be served from here",
    "list": "keys(), clear(), sweeps and copies cannot see what is there",
    "notices": "what other processes change is served from memory here until it leaves it",
    "condition": "invalidations of two processes at the same moment may lose one, and leases do not hold",
}


@dataclass(slots=True)
class Trials:
    """What became of the trials of one tier.

    Attributes:
        states: by operation: `read`, `write`, `delete`, `list`, `condition`, `notices` where the chain sends them
            through this tier, and `class NAME` for each further class.
        seconds: what each took, connecting not included.
        findings: what is wrong, and how to mend it.
    """

    states: dict[str, State] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


class _Off(Exception):
    """What a store did is not what it should have done."""


def tried(tier: Tier, backend: Backend, due: Callable[[], float], *, carries: bool = False) -> Trials:
    """Try every operation that the tier needs.

    Args:
        tier: whose policy says what is needed.
        backend: the store that is asked; of a packed tier, the one beneath.
        due: returns the deadline of an operation that begins now.
        carries: whether the chain sends its notices through this tier.
    """
    attempt = _Attempt(tier, backend, due)
    trials = attempt.run()
    if carries and isinstance(backend, NoticeCarrier):
        attempt.attempt("notices", lambda: travel(backend, due()))
    return trials


class _Attempt:
    def __init__(self, tier: Tier, backend: Backend, due: Callable[[], float]) -> None:
        self.tier, self.backend, self.due = tier, backend, due
        self.key = f"{_PREFIX}{secrets.token_hex(8)}"
        self.payload = b"tiercache doctor " + secrets.token_hex(16).encode()
        self.trials = Trials()
        self.written: list[str] = []

    def run(self) -> Trials:
        self.attempt("read", self._miss)
        if self.tier.write == "never":
            self.trials.states |= dict.fromkeys(("write", "delete", "condition"), "not needed")
            self.attempt("list", lambda: next(iter(self._scan()), None))
            return self.trials
        if isinstance(self.backend, ObjectStoreBackend):
            self.attempt("delete", self._delete_nothing)
            if self.trials.states["delete"] != "ok":
                self.key = f"{_PREFIX}cannot-be-deleted"  # one for all checks, as it stays
        try:
            if self.attempt("write", lambda: self._write(self.key)):
                self._written()
        finally:
            self._clean_up()
        return self.trials

    def _written(self) -> None:
        if self.trials.states["read"] == "ok":
            self.attempt("read", self._read)
        self.attempt("list", self._list)
        if self.tier.persists:
            self.attempt("condition", self._replace)
        else:
            self.trials.states["condition"] = "not needed"
        for name in self._classes():
            self.attempt(f"class {name}", lambda name=name: self._write(f"{self.key}-{name}", name))  # type: ignore[misc]

    def _clean_up(self) -> None:
        if self.trials.states.get("delete", "ok") == "ok":
            for key in self.written:
                self.attempt("delete", lambda key=key: self._delete(key))  # type: ignore[misc]
        if self.written and self.trials.states["delete"] != "ok" and isinstance(self.backend, ObjectStoreBackend):
            self.trials.findings.append(
                Finding(
                    level="note",
                    about="delete",
                    text=f"the check's own entry stays there, under the key {self.key} (a few hundred bytes, a miss "
                    "from a minute on)",
                    fix="delete it when deleting is allowed, or leave it to the lifecycle rule",
                )
            )
        for name in ("write", "delete", "list", "condition"):
            self.trials.states.setdefault(name, "unknown")

    # The operations.

    def _miss(self) -> None:
        if self.backend.get(f"{self.key}-absent", deadline=self.due()) is not None:
            raise _Off("the store answers with an entry that was never written")

    def _read(self) -> None:
        entry = self.backend.get(self.key, deadline=self.due())
        if entry is None:
            raise _Off("what was written a moment ago is not there: is it a replica, or is memory full?")
        if entry.payload != self.payload:
            raise _Off("what was read is not what was written")

    def _write(self, key: str, storage_class: str | None = None) -> None:
        now = time.time()
        metadata = Metadata(key=key, created_at=now, expires_at=now + LIFE, size=len(self.payload))
        self.written.append(key)
        if not self.backend.put(key, Entry(self.payload, metadata, storage_class=storage_class), deadline=self.due()):
            raise _Off("the store took the entry and did not write it")

    def _delete_nothing(self) -> None:
        backend: Any = self.backend
        backend.objects.remove(backend.prefix + keys.object_name(f"{self.key}-absent"), deadline=self.due())

    def _delete(self, key: str) -> None:
        self.backend.delete(key, deadline=self.due())
        if self.backend.get(key, deadline=self.due()) is not None:
            raise _Off("what was deleted is still there")

    def _scan(self) -> Any:
        # A bucket lists a prefix at once; Redis would go through all of its keys to find it.
        return self.backend.scan(_PREFIX if isinstance(self.backend, ObjectStoreBackend) else "", deadline=self.due())

    def _list(self) -> None:
        if next(iter(self._scan()), None) is None:
            raise _Off("the listing is empty, and something was written a moment ago")

    def _replace(self) -> None:
        now = time.time()
        entry = Entry(
            self.payload, Metadata(key=self.key, created_at=now, expires_at=now + LIFE, size=len(self.payload))
        )
        if self.backend.put(self.key, entry, if_absent=True, deadline=self.due()):
            raise _Off("the store ignores the condition of a write (If-None-Match)")
        found = self.backend.get(self.key, deadline=self.due())
        etag = None if found is None else found.metadata.etag
        if etag is None:
            raise _Off("the store tells no version of an entry")
        if not self.backend.put(self.key, entry, if_match=etag, deadline=self.due()):
            raise _Off("the store refuses a write for the version that is there (If-Match)")

    def _classes(self) -> list[str]:
        own = getattr(self.backend, "storage_class", None)
        named = dict.fromkeys(rule.storage_class for rule in self.tier.storage_classes)
        return [name for name in named if name != own]

    def attempt(self, operation: str, trial: Callable[[], object]) -> bool:
        """Perform a trial, and note what became of it; return whether it went well."""
        start = time.perf_counter()
        try:
            trial()
        except _Off as error:
            self._fail(operation, error)
            return False
        except Exception as error:  # noqa: BLE001 - whatever a backend raises, the tier sorts it as in every call
            self._fail(operation, self.tier.mapped(error))
            return False
        self.trials.seconds[operation] = time.perf_counter() - start
        self.trials.states[operation] = "ok"
        return True

    def _fail(self, operation: str, error: Exception) -> None:
        denied = isinstance(error, AccessDenied)
        self.trials.states[operation] = "denied" if denied else "fails"
        vital = operation in ("read", "write", "delete")
        why = _NEEDED.get(operation, "entries for it stay out of this tier")
        finding = Finding(
            level="fault" if vital else "warning",
            about=operation,
            text=f"{error} ({why})",
            fix=self._remedy(operation, error) if denied else _mend(operation, error),
        )
        self.trials.findings = [each for each in self.trials.findings if each.about != operation] + [finding]

    def _remedy(self, operation: str, error: Exception) -> str:
        permission: dict[str, Permission] = {name: name for name in ("read", "delete", "list", "notices")}
        if not isinstance(self.backend, Grants) or refuses_credentials(error):
            return ""
        return f"allow it: {self.backend.allow(permission.get(operation, 'write'))}"


def refuses_credentials(error: Exception) -> bool:
    """Whether the store refuses who asks, and not what is asked."""
    return isinstance(error, AccessDenied) and "credentials" in str(error)


def _mend(operation: str, error: Exception) -> str:
    if isinstance(error, ConfigurationError) or operation != "condition":
        return ""
    return "use a store with conditional writes, or one process at a time for invalidate_tags() and clear()"
