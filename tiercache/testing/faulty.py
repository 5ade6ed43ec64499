"""`FaultyBackend`: any backend, with faults by rules, the same ones in every run."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from .. import fork
from ..backend import Backend
from ..coherence.guard import Guard
from ..entry import Entry, Metadata
from ..errors import ConfigurationError, TiercacheError
from ..flow import adrive, drive
from .fault_flows import Ask, Struck, strike
from .faults import LIKE, Rule


class _Active:
    """A rule that holds, with the calls that it matched so far."""

    def __init__(self, rule: Rule, place: int) -> None:
        self.rule = rule
        self.place = place
        self.matched = 0
        self.healed = threading.Event()


class FaultyBackend(Backend):
    """A backend that goes wrong on purpose; without rules it is the inner one.

    Args:
        inner: any backend, sync operations and their a-twins included.
        seed: what the rules' probabilities are drawn from.
        rules: what goes wrong from the start; of several that strike a call, the first is taken.

    Attributes:
        inner: the backend that does the work; read and write it to look behind the faults.
        calls: operations asked for so far, by name (`calls["get"]`, `calls.total()`).
        injected: faults so far, by name.

    `inject` and `heal` change the rules at any time, from any thread. All other attributes are the inner backend's.
    What a chain asks a shared fence (Redis) counts, and is struck, as the operation that it stands for. Options that
    only the inner backend knows are passed on to it.
    """

    keeps_deadlines = False  # it may hang

    def __new__(cls, inner: Backend, **options: Any) -> FaultyBackend:
        """Return one that is a shared fence if the inner backend is."""
        from .faulty_guard import FaultyGuard

        made: type[FaultyBackend] = FaultyGuard if cls is FaultyBackend and isinstance(inner, Guard) else cls
        return object.__new__(made)

    def __init__(self, inner: Backend, *, seed: int = 0, rules: Iterable[Rule] = ()) -> None:
        if not hasattr(inner, "scheme"):
            raise ConfigurationError(f"a FaultyBackend wraps a backend, not a {type(inner).__name__}")
        self.inner = inner
        self.seed = seed
        self.calls: Counter[str] = Counter()
        self.injected: Counter[str] = Counter()
        vars(self).update(
            scheme=inner.scheme, persistent=inner.persistent, timeout=inner.timeout, concurrency=inner.concurrency
        )
        self._active: list[_Active] = []
        self._places = 0
        self._last: dict[str, Entry | None] = {}
        self._before: dict[str, Entry | None] = {}
        self._late: list[Callable[[], Any]] = []
        self.after_fork()
        fork.register(self)
        self.inject(*rules)

    def after_fork(self) -> None:
        """Make the lock anew: a thread of the parent may have held it."""
        self._lock = threading.Lock()

    def inject(self, *rules: Rule) -> None:
        """Let these rules hold from now on, after those that do."""
        if strange := [rule for rule in rules if not isinstance(rule, Rule)]:
            kind = type(strange[0]).__name__
            raise ConfigurationError(f"a rule must be a Rule, such as Rule('unavailable'), not a {kind}")
        with self._lock:
            for rule in rules:
                self._active.append(_Active(rule, self._places))
                self._places += 1

    def heal(self, *rules: Rule) -> None:
        """End these rules, or all of them; calls that hang because of them go on. Late writes wait for `land`."""
        with self._lock:
            ended = [active for active in self._active if not rules or active.rule in rules]
            self._active = [active for active in self._active if active not in ended]
        for active in ended:
            active.healed.set()

    @contextlib.contextmanager
    def broken(self, *rules: Rule) -> Iterator[None]:
        """Let these rules hold within the block."""
        self.inject(*rules)
        try:
            yield
        finally:
            self.heal(*rules)

    def land(self) -> int:
        """Perform the late writes that have not landed, in their order, and return how many there were."""
        with self._lock:
            late, self._late = self._late, []
        for write in late:
            write()
        return len(late)

    def get(self, key: str, *, deadline: float | None = None) -> Entry | None:
        """`get` of the inner backend, or a fault."""
        found: Entry | None = drive(self._call("get", key, deadline=deadline))
        return found

    def put(
        self,
        key: str,
        entry: Entry,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        deadline: float | None = None,
        **options: Any,
    ) -> bool:
        """`put` of the inner backend, or a fault."""
        options |= {"if_absent": if_absent, "if_match": if_match, "deadline": deadline}
        return bool(drive(self._call("put", key, entry, **options)))

    def delete(self, key: str, *, deadline: float | None = None, **options: Any) -> bool:
        """`delete` of the inner backend, or a fault."""
        return bool(drive(self._call("delete", key, deadline=deadline, **options)))

    def scan(
        self, prefix: str = "", *, full: bool = False, deadline: float | None = None
    ) -> Iterator[tuple[str, Metadata]]:
        """`scan` of the inner backend, or a fault before its first entry."""
        call = self._begin("scan", (prefix,), {"full": full, "deadline": deadline})
        if call is not None:
            drive(strike(call))
        yield from self.inner.scan(prefix, full=full, deadline=deadline)

    def ping(self, *, deadline: float | None = None) -> None:
        """`ping` of the inner backend, or a fault."""
        drive(self._call("ping", deadline=deadline))

    def head(self, key: str, *, deadline: float | None = None) -> Metadata | None:
        """`head` of the inner backend, or a fault."""
        found: Metadata | None = drive(self._call("head", key, deadline=deadline))
        return found

    def get_many(self, keys: Sequence[str], *, deadline: float | None = None) -> dict[str, Entry]:
        """`get_many` of the inner backend, or a fault."""
        found: dict[str, Entry] = drive(self._call("get_many", keys, deadline=deadline))
        return found

    def put_many(self, entries: Mapping[str, Entry], *, deadline: float | None = None, **options: Any) -> None:
        """`put_many` of the inner backend, or a fault."""
        drive(self._call("put_many", entries, deadline=deadline, **options))

    def delete_many(self, keys: Sequence[str], *, deadline: float | None = None, **options: Any) -> int:
        """`delete_many` of the inner backend, or a fault."""
        return int(drive(self._call("delete_many", keys, deadline=deadline, **options)))

    def clear(self, prefix: str = "", *, deadline: float | None = None) -> int:
        """`clear` of the inner backend, or a fault."""
        return int(drive(self._call("clear", prefix, deadline=deadline)))

    def rebuild(self) -> None:
        """`rebuild` of the inner backend."""
        self.inner.rebuild()

    def close(self) -> None:
        """End all rules, forget late writes, and close the inner backend."""
        self._stop()
        self.inner.close()
        super().close()

    async def aget(self, key: str, *, deadline: float | None = None) -> Entry | None:
        """`get`, awaited."""
        found: Entry | None = await adrive(self._call("get", key, deadline=deadline))
        return found

    async def aput(
        self,
        key: str,
        entry: Entry,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        deadline: float | None = None,
        **options: Any,
    ) -> bool:
        """`put`, awaited."""
        options |= {"if_absent": if_absent, "if_match": if_match, "deadline": deadline}
        return bool(await adrive(self._call("put", key, entry, **options)))

    async def adelete(self, key: str, *, deadline: float | None = None, **options: Any) -> bool:
        """`delete`, awaited."""
        return bool(await adrive(self._call("delete", key, deadline=deadline, **options)))

    async def ascan(
        self, prefix: str = "", *, full: bool = False, deadline: float | None = None
    ) -> AsyncIterator[tuple[str, Metadata]]:
        """`scan`, awaited."""
        call = self._begin("scan", (prefix,), {"full": full, "deadline": deadline})
        if call is not None:
            await adrive(strike(call))
        async for item in self.inner.ascan(prefix, full=full, deadline=deadline):
            yield item

    async def aping(self, *, deadline: float | None = None) -> None:
        """`ping`, awaited."""
        await adrive(self._call("ping", deadline=deadline))

    async def ahead(self, key: str, *, deadline: float | None = None) -> Metadata | None:
        """`head`, awaited."""
        found: Metadata | None = await adrive(self._call("head", key, deadline=deadline))
        return found

    async def aget_many(self, keys: Sequence[str], *, deadline: float | None = None) -> dict[str, Entry]:
        """`get_many`, awaited."""
        found: dict[str, Entry] = await adrive(self._call("get_many", keys, deadline=deadline))
        return found

    async def aput_many(self, entries: Mapping[str, Entry], *, deadline: float | None = None, **options: Any) -> None:
        """`put_many`, awaited."""
        await adrive(self._call("put_many", entries, deadline=deadline, **options))

    async def adelete_many(self, keys: Sequence[str], *, deadline: float | None = None, **options: Any) -> int:
        """`delete_many`, awaited."""
        return int(await adrive(self._call("delete_many", keys, deadline=deadline, **options)))

    async def aclear(self, prefix: str = "", *, deadline: float | None = None) -> int:
        """`clear`, awaited."""
        return int(await adrive(self._call("clear", prefix, deadline=deadline)))

    async def aclose(self) -> None:
        """`close`, awaited."""
        self._stop()
        await self.inner.aclose()
        super().close()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "timeout":  # a tier sets it, and the SDK's own timeouts follow
            self.inner.timeout = value

    def __repr__(self) -> str:
        return f"<FaultyBackend on {self.inner!r}>"

    def _stop(self) -> None:
        self.heal()
        with self._lock:
            self._late.clear()

    async def _call(self, method: str, *args: Any, **options: Any) -> Any:
        call = self._begin(method, args, options)
        answer = await (Ask(self.inner, method, args, options) if call is None else strike(call))
        self._remember(method, args, answer)
        return answer

    def _begin(self, method: str, args: tuple[Any, ...], options: dict[str, Any]) -> Struck | None:
        """Count the call; return it if a rule strikes it."""
        struck, operation = None, LIKE.get(method, method)
        with self._lock:
            self.calls[operation] += 1
            for active in self._active:
                if active.rule.matches(operation):
                    active.matched += 1
                    if struck is None and active.rule.strikes(self.seed, active.place, active.matched):
                        struck = active
            if struck is None:
                return None
            self.injected[str(struck.rule.fault)] += 1
            chance = (self.seed, struck.place, struck.matched)
        return Struck(
            self.inner, method, args, options, struck.rule, struck.healed, chance, self._before, self._postpone
        )

    def _remember(self, method: str, args: tuple[Any, ...], answer: Any) -> None:
        """Keep what the keys held before this change, for stale reads."""
        if method in ("put", "put_seen") and answer:
            changed: dict[str, Entry | None] = {args[0]: args[1]}
        elif method in ("put_many", "put_many_seen"):
            changed = {key: entry for key, entry in args[0].items() if answer is None or key in answer}
        elif method in ("delete", "delete_many", "bury"):
            changed = dict.fromkeys([args[0]] if method == "delete" else args[0])
        else:
            return
        with self._lock:
            for key, entry in changed.items():
                self._before[key] = self._last.get(key)
                self._last[key] = entry

    def _postpone(self, write: Callable[[], Any], seconds: float | None) -> None:
        with self._lock:
            self._late.append(write)
        if seconds is not None:
            timer = threading.Timer(seconds, self._land_one, (write,))
            timer.daemon = True
            timer.start()

    def _land_one(self, write: Callable[[], Any]) -> None:
        with self._lock:
            if write not in self._late:
                return  # landed by hand, or the backend was closed
            self._late.remove(write)
        with contextlib.suppress(TiercacheError):  # then it never lands: nobody waits for it any more
            write()
