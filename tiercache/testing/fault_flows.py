"""What `FaultyBackend` does in a call that a rule strikes: one flow a fault, for callers that block and that await."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from msgspec import structs

from .. import envelope
from ..backend import Backend
from ..coherence.guard import Seen
from ..entry import Entry
from ..errors import AccessDenied, BackendError, BackendTimeout, BackendUnavailable, CorruptEntry, PartialFailure
from ..flow import Operation
from .faults import Fault, Rule, draw

_TICK = 0.005
"""Seconds between looks at whether a wait in an event loop is over."""


class Ask(Operation[Any]):
    """The inner backend's operation."""

    __slots__ = ("args", "backend", "method", "options")

    def __init__(self, backend: Backend, method: str, args: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        self.backend = backend
        self.method = method
        self.args = args
        self.options = options

    def perform(self) -> Any:
        """Do it, blocking."""
        return getattr(self.backend, self.method)(*self.args, **self.options)

    async def aperform(self) -> Any:
        """Do it without blocking the running loop."""
        return await getattr(self.backend, "a" + self.method)(*self.args, **self.options)


class Pause(Operation[None]):
    """Wait until the event, `seconds` at most; None: as long as it takes."""

    __slots__ = ("event", "seconds")

    def __init__(self, event: threading.Event, seconds: float | None) -> None:
        self.event = event
        self.seconds = seconds

    def perform(self) -> None:
        """Do it, blocking."""
        self.event.wait(self.seconds)

    async def aperform(self) -> None:
        """Do it without blocking the running loop."""
        end = None if self.seconds is None else time.monotonic() + self.seconds
        while not self.event.is_set() and (end is None or time.monotonic() < end):  # noqa: ASYNC110 - set by any thread
            await asyncio.sleep(_TICK if end is None else max(0.0, min(_TICK, end - time.monotonic())))


@dataclass
class Struck:
    """A call that a rule strikes.

    Attributes:
        backend: the inner backend.
        method, args, options: the operation, without its `a`.
        rule: what strikes it.
        healed: set when the rule no longer holds.
        chance: what draws are made from.
        before: what keys held before their last change.
        late: takes a write that is to land later.
    """

    backend: Backend
    method: str
    args: tuple[Any, ...]
    options: dict[str, Any]
    rule: Rule
    healed: threading.Event
    chance: tuple[object, ...]
    before: Mapping[str, Entry | None]
    late: Callable[[Callable[[], Any], float | None], None]
    seconds: float | None = field(init=False)

    def __post_init__(self) -> None:
        self.seconds = cast("float | None", self.rule.seconds)

    @property
    def keys(self) -> list[str]:
        """The keys of a batch."""
        return list(self.args[0])

    def ask(self) -> Operation[Any]:
        """Return the operation itself; a scan is iterated by the wrapper, after this."""
        if self.method == "scan":
            return Pause(self.healed, 0.0)
        return Ask(self.backend, self.method, self.args, self.options)

    def drawn(self) -> list[str]:
        """Return about half of the batch's keys, at least one."""
        draws = {key: draw(*self.chance, number) for number, key in enumerate(self.keys)}
        return [key for key in draws if draws[key] < 0.5] or sorted(draws, key=draws.__getitem__)[:1]


async def strike(call: Struck) -> Any:
    """Let the call go wrong as its rule says."""
    return await _FLOWS[Fault(call.rule.fault)](call)


async def _unavailable(call: Struck) -> Any:
    raise BackendUnavailable("injected: the store cannot be reached")


async def _throttled(call: Struck) -> Any:
    raise BackendUnavailable("injected: the store is busy; try again later")


async def _timeout(call: Struck) -> Any:
    raise BackendTimeout("injected: the store did not answer in time")


async def _denied(call: Struck) -> Any:
    raise AccessDenied("injected: the store denies this")


async def _delay(call: Struck) -> Any:
    deadline = call.options.get("deadline")
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    if left is None or (call.seconds is not None and call.seconds < left):
        await Pause(call.healed, call.seconds)
    else:
        await Pause(call.healed, left)
        if not call.healed.is_set():
            raise BackendTimeout("injected: the store did not answer in time")
    return await call.ask()


async def _hang(call: Struck) -> Any:
    await Pause(call.healed, call.seconds)
    return await call.ask()


async def _lose(call: Struck) -> Any:
    several: dict[str, Callable[[], Any]] = {
        "put_many": lambda: None,
        "put_many_seen": lambda: set(call.keys),
        "delete_many": lambda: len(call.keys),
        "bury": set,
        "close_tombs": lambda: len(call.keys),
        "clear": lambda: 0,
    }
    return several.get(call.method, lambda: True)()


async def _lost_answer(call: Struck) -> Any:
    await call.ask()
    raise BackendTimeout("injected: the store did it, and its answer was lost")


async def _late(call: Struck) -> Any:
    method, args, options = call.method, call.args, call.options | {"deadline": None}
    call.late(lambda: getattr(call.backend, method)(*args, **options), call.seconds)
    raise BackendTimeout("injected: the store did not answer in time, and has not done it yet")


async def _damage(call: Struck) -> Any:
    harm = _flip if call.rule.fault is Fault.CORRUPT else _cut
    return await _spoil(call, lambda key, entry: envelope.decode(harm(envelope.encode(entry)), key))


async def _foreign(call: Struck) -> Any:
    return await _spoil(call, lambda key, entry: entry.with_metadata(key=f"{key}-of-another"))


async def _spoil(call: Struck, spoil: Callable[[str, Entry], Entry]) -> Any:
    found = await call.ask()
    if call.method in ("get", "get_seen"):
        return _with_entry(found, lambda entry: spoil(call.args[0], entry))
    good: dict[str, Any] = {}
    failed: dict[str, BackendError] = {}
    spoilt = set(call.drawn())
    for key, one in found.items():
        try:
            good[key] = _with_entry(one, partial(spoil, key)) if key in spoilt else one
        except CorruptEntry as error:
            failed[key] = error
    if failed:
        raise PartialFailure(failed, good)
    return good


def _with_entry(found: Any, change: Callable[[Entry], Entry]) -> Any:
    """Change the entry that was found, or was seen by a shared fence, if there is one."""
    if isinstance(found, Seen):
        return found if found.entry is None else structs.replace(found, entry=change(found.entry))
    return None if found is None else change(found)


async def _stale(call: Struck) -> Any:
    found = await call.ask()
    if call.method == "get_seen":
        return structs.replace(found, entry=call.before.get(call.args[0], found.entry))
    if call.method == "get":
        return call.before.get(call.args[0], found)
    if call.method == "get_many_seen":
        return {key: structs.replace(seen, entry=call.before.get(key, seen.entry)) for key, seen in found.items()}
    now = {key: call.before.get(key, found.get(key)) for key in call.keys}
    return {key: entry for key, entry in now.items() if entry is not None}


async def _partial(call: Struck) -> Any:
    failed = dict.fromkeys(call.drawn(), cast(BackendError, BackendUnavailable("injected: this key failed")))
    if not failed:
        return await call.ask()
    batch: Mapping[str, Any] | Sequence[str] = call.args[0]
    if isinstance(batch, Mapping):
        rest: Any = {key: entry for key, entry in batch.items() if key not in failed}
    else:
        rest = [key for key in batch if key not in failed]
    raise PartialFailure(failed, await Ask(call.backend, call.method, (rest, *call.args[1:]), call.options))


def _flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


_FLOWS: dict[Fault, Callable[[Struck], Awaitable[Any]]] = {
    Fault.UNAVAILABLE: _unavailable,
    Fault.TIMEOUT: _timeout,
    Fault.DENIED: _denied,
    Fault.THROTTLED: _throttled,
    Fault.DELAY: _delay,
    Fault.HANG: _hang,
    Fault.LOSE: _lose,
    Fault.LOST_ANSWER: _lost_answer,
    Fault.LATE: _late,
    Fault.CORRUPT: _damage,
    Fault.TRUNCATE: _damage,
    Fault.FOREIGN: _foreign,
    Fault.STALE: _stale,
    Fault.PARTIAL: _partial,
}
