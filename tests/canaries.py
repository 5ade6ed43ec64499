"""Canaries: texts that belong into no log, repr, error or metric, and the search for them in all that can be seen."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import traceback
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import rich.console
import rich.pretty

from tiercache import Stats
from tiercache.logs import JsonFormatter


class Canaries:
    """One text for each kind of secret, made anew: no line of source code holds it."""

    def __init__(self) -> None:
        self.key, self.value, self.tag, self.attribute, self.password, self.s3_secret, self.session_token = (
            f"{kind}-{uuid.uuid4().hex}"
            for kind in ("key", "value", "tag", "attribute", "password", "s3secret", "sessiontoken")
        )
        self.secret = os.urandom(32)

    def in_text(self, text: str) -> list[str]:
        """The kinds of canaries that a text shows, whole or with some of them cut off."""
        kinds = [name for name, canary in vars(self).items() if isinstance(canary, str) and canary[:24] in text]
        return kinds + ["secret"] * any(form in text for form in self._forms_of_the_secret())

    def in_bytes(self, data: bytes) -> list[str]:
        return self.in_text(data.decode("latin-1")) + ["secret"] * (self.secret[:16] in data)

    def _forms_of_the_secret(self) -> list[str]:
        encoded = base64.b64encode(self.secret).decode()
        return [encoded[:16], self.secret.hex()[:16], repr(self.secret[:12])[2:-1]]


class Witness:
    """Keeps what operations return and raise, and finds canaries in all of it."""

    def __init__(self, canaries: Canaries) -> None:
        self.canaries = canaries
        self.seen: list[Any] = []
        self.errors: list[BaseException] = []
        self.exported: list[Callable[[], list[str]]] = []
        """What leaves the process for a monitor, when it is asked for."""

    async def call(self, face: str, target: Any, operation: str, *args: Any, **options: Any) -> Any:
        """Call an operation or await its a-twin; keep what comes of it."""
        try:
            if face == "sync" or not hasattr(target, f"a{operation}"):
                result = getattr(target, operation)(*args, **options)
            else:
                result = getattr(target, f"a{operation}")(*args, **options)
                result = [item async for item in result] if hasattr(result, "__aiter__") else await result
            if operation == "keys":
                return list(result)
        except Exception as error:
            self.errors.append(error)
            return None
        self.seen.append(result)
        return result

    def faults(self, roots: Iterable[Any], records: Iterable[logging.LogRecord]) -> list[str]:
        """Say where canaries show: in logs, exports, errors, and anything of tiercache that can be reached."""
        found = []
        for record in records:
            if record.name.startswith("tiercache"):
                shown = (record.getMessage(), repr(record.args), record.exc_text or "", JsonFormatter().format(record))
                found += self._in(f"log of {record.name}", *shown)
        for export in self.exported:
            found += self._in("telemetry", *export())
        for thing in reachable([*roots, *self.seen, *self.errors]):
            found += self._in(type(thing).__name__, *texts(thing))
        return sorted(set(found))

    def _in(self, where: str, *shown: str) -> list[str]:
        return [f"{kind} in {where}" for text in shown for kind in self.canaries.in_text(text)]


def texts(thing: Any) -> list[str]:
    """All that a person, a log or an error tracker makes of a thing."""
    console = rich.console.Console(file=io.StringIO(), width=200, highlight=False)
    console.print(thing)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    shown = [repr(thing), str(thing), f"{thing}", rich.pretty.pretty_repr(thing), written]
    if isinstance(thing, BaseException):
        shown += traceback.format_exception(thing)
    if isinstance(thing, Stats):
        shown += [repr(thing.as_dict()), json.dumps(thing.as_dict(), default=str)]
    return shown


def reachable(roots: Iterable[Any]) -> list[Any]:
    """What is of tiercache, or an error, behind public attributes and in containers."""
    found, waiting, known = [], list(roots), set()
    while waiting:
        thing = waiting.pop()
        if id(thing) in known or isinstance(thing, (str, bytes, int, float, type(None), type)):
            continue
        known.add(id(thing))
        if isinstance(thing, Mapping):
            waiting += thing.values()
        elif isinstance(thing, (list, tuple, set, frozenset)):
            waiting += thing
        if type(thing).__module__.split(".")[0].startswith("tiercache") or isinstance(thing, BaseException):
            found.append(thing)
            waiting += _public(thing)
    return found


def _public(thing: Any) -> list[Any]:
    names = set(getattr(thing, "__dict__", ()))
    for kind in type(thing).__mro__:
        slots = vars(kind).get("__slots__", ())
        names |= {slots} if isinstance(slots, str) else set(slots)
    chained = []
    if isinstance(thing, BaseException):  # what `from None` hides, no traceback and no error tracker shows
        chained = [thing.__cause__, None if thing.__suppress_context__ else thing.__context__]
    return [getattr(thing, name, None) for name in names if not name.startswith("_")] + chained
