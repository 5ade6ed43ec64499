"""The fence: nothing that was loaded before a change of its key is stored after it.

A load (a read that may promote, a computation that will store) opens an interval on its key. A mutation (set,
touch, delete, clear) makes the open loads of that key unable to store, and those that begin while it lasts are born
so: they may have read the old entry below while the mutation was passing above. Mutations of one key take turns, and
wait for promotions that are being written at that moment. One that could not wait marks what it overtook, and that
removes again what it wrote.

This holds within one process.

What closes something never waits for the table: a flow that nobody finishes is closed by the garbage collector, which
may run in the middle of a change of the table, in the same thread. It is done by whoever uses the table next.
"""

from __future__ import annotations

import math
import threading
import time
from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from . import fork
from .turns import Write


class Mutation(Write):
    """A change of one key in progress."""

    __slots__ = ("key", "state")

    def __init__(self, key: str, state: _State, before: Sequence[Write], owner: AbstractEventLoop | None) -> None:
        super().__init__(owner, before)
        self.key = key
        self.state = state


class Load:
    """The right to store what is being loaded, as long as nothing changed the key.

    Attributes:
        began: when it began: later than every mark of an invalidation that was known then.
        seen: what the guard (`tiercache.coherence.guard`) held when it was asked; None: it was not, or did not answer.
        barred: entries of slower tiers that began to be loaded until then (Unix seconds) were deleted since.
    """

    __slots__ = ("barred", "began", "holders", "key", "seen", "valid", "writes")

    def __init__(self, key: str, valid: bool, began: float = 0.0) -> None:
        self.key = key
        self.valid = valid
        self.began = began
        self.holders = 1
        self.writes: set[Write] = set()
        self.seen: str | None = None
        self.barred = -math.inf

    def saw(self, token: str, deleted_at: float | None) -> None:
        """Remember what the guard held."""
        self.seen = token
        if deleted_at is not None:
            self.barred = deleted_at


class _State:
    __slots__ = ("loads", "mutations", "turn")

    def __init__(self) -> None:
        self.mutations: set[Mutation] = set()
        self.loads: set[Load] = set()
        self.turn: Mutation | None = None


class Fence:
    """The table of open loads and mutations; it holds only keys that are being worked on.

    Args:
        moment: returns when something that begins now about a key began, in Unix seconds.
    """

    def __init__(self, moment: Callable[[str], float] = lambda _: time.time()) -> None:
        self._moment = moment
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """Forget what the parent's threads were doing."""
        self._lock = threading.Lock()
        self._states: dict[str, _State] = {}
        self._clearing: list[str] = []
        self._closing: deque[Callable[[], object]] = deque()

    def begin(self, key: str) -> Load:
        """Open a load of the key."""
        began = self._moment(key)
        with self._lock:
            self._settle()
            return self._begin(key, began)

    def begin_many(self, keys: Sequence[str]) -> dict[str, Load]:
        """Open loads of keys of one namespace, all at one moment."""
        if not keys:
            return {}
        began = self._moment(keys[0])
        with self._lock:
            self._settle()
            return {key: self._begin(key, began) for key in keys}

    def hold(self, load: Load) -> None:
        """Keep the load open for one more holder (a write in the background)."""
        with self._lock:
            self._settle()
            load.holders += 1

    def release(self, load: Load) -> None:
        """Close the load, when its last holder does."""
        self._close(partial(self._release, (load,)))

    def release_many(self, loads: Iterable[Load]) -> None:
        """`release` of each."""
        self._close(partial(self._release, tuple(loads)))

    def store(self, load: Load, action: Callable[[], object]) -> bool:
        """Run the action, which must be quick and local, if the load may still store; return whether it did."""
        with self._lock:
            self._settle()
            if load.valid:
                action()
            return load.valid

    def start_write(self, load: Load, owner: AbstractEventLoop | None = None) -> Write | None:
        """Announce a write of the load to a store; mutations then wait for its end. None: it must not be written."""
        with self._lock:
            self._settle()
            if not load.valid:
                return None
            write = Write(owner)
            load.writes.add(write)
            return write

    def end_write(self, load: Load, write: Write) -> None:
        """The announced write is over."""
        self._close(partial(load.writes.discard, write))
        write.end()

    def mutate(self, keys: Sequence[str], owner: AbstractEventLoop | None = None) -> list[Mutation]:
        """Begin a mutation of each key, all at one moment, so that two batches cannot wait for each other.

        Args:
            keys: what is changed, each once.
            owner: the event loop in which the mutations run, if they do.
        """
        with self._lock:
            self._settle()
            return [self._mutate(key, owner) for key in keys]

    def mutate_with(self, load: Load, owner: AbstractEventLoop | None = None) -> Mutation | None:
        """Begin the mutation that stores what a load made; None if it no longer may."""
        with self._lock:
            self._settle()
            return self._mutate(load.key, owner) if load.valid else None

    def mutate_with_all(self, loads: Sequence[Load], owner: AbstractEventLoop | None = None) -> list[Mutation]:
        """Begin the mutations that store what loads made, all at one moment; only of those that still may."""
        with self._lock:
            self._settle()
            return [self._mutate(load.key, owner) for load in loads if load.valid]

    def finish(self, mutation: Mutation) -> None:
        """End a mutation: the next one of its key may go on, and new loads may store again."""
        self._close(partial(self._finish, mutation))
        mutation.end()

    def begin_clear(self, prefix: str) -> list[Write]:
        """Make all loads below a prefix unable to store, until `end_clear` also new ones; return what to wait for."""
        with self._lock:
            self._settle()
            self._clearing.append(prefix)
            before: list[Write] = []
            for key, state in self._states.items():
                if key.startswith(prefix):
                    before += self._invalidate(state)
            return before

    def end_clear(self, prefix: str) -> None:
        """The clear is over."""
        self._close(partial(self._end_clear, prefix))

    def overtake(self, keys: Iterable[str]) -> None:
        """Another process changed these keys: open loads may not store, and what they are writing is removed again."""
        with self._lock:
            self._settle()
            for key in keys:
                if (state := self._states.get(key)) is not None:
                    _overtake(state)

    def overtake_prefix(self, prefix: str) -> None:
        """`overtake` for all keys below a prefix."""
        with self._lock:
            self._settle()
            for key, state in self._states.items():
                if key.startswith(prefix):
                    _overtake(state)

    def _begin(self, key: str, began: float) -> Load:
        state = self._state(key)
        clearing = self._clearing and any(map(key.startswith, self._clearing))
        load = Load(key, not self._is_changing(state) and not clearing, began)
        state.loads.add(load)
        return load

    def _close(self, action: Callable[[], object]) -> None:
        """Have it done now, or by whoever uses the table at this moment, or next."""
        self._closing.append(action)
        while self._closing and self._lock.acquire(blocking=False):
            try:
                self._settle()
            finally:
                self._lock.release()

    def _settle(self) -> None:
        """Close what is to be closed; before the table is looked at."""
        while self._closing:
            self._closing.popleft()()

    def _release(self, loads: Sequence[Load]) -> None:
        for load in loads:
            load.holders -= 1
            if not load.holders and (state := self._states.get(load.key)) is not None:
                state.loads.discard(load)
                self._forget(load.key, state)

    def _end_clear(self, prefix: str) -> None:
        if prefix in self._clearing:  # not in a child that was forked meanwhile
            self._clearing.remove(prefix)

    def _finish(self, mutation: Mutation) -> None:
        state = mutation.state  # not the table's: in a forked child that is another one
        state.mutations.discard(mutation)
        if state.turn is mutation:
            state.turn = None
        self._forget(mutation.key, state)
        mutation.before = ()  # else each would keep all that were before it

    def _mutate(self, key: str, owner: AbstractEventLoop | None) -> Mutation:
        state = self._state(key)
        mutation = Mutation(key, state, self._invalidate(state), owner)
        state.mutations.add(mutation)
        state.turn = mutation
        return mutation

    def _invalidate(self, state: _State) -> list[Write]:
        """Make the open loads unable to store; return what is being written now."""
        before: list[Write] = [write for load in state.loads for write in load.writes]
        if self._is_changing(state) and state.turn is not None:
            before.append(state.turn)
        for load in state.loads:
            load.valid = False
        return before

    def _is_changing(self, state: _State) -> bool:
        """Whether a mutation lasts; those whose event loop was closed under them are given up."""
        if state.mutations:
            for mutation in [mutation for mutation in state.mutations if mutation.is_lost]:
                state.mutations.discard(mutation)
                if state.turn is mutation:
                    state.turn = None
        return bool(state.mutations)

    def _state(self, key: str) -> _State:
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = _State()
        return state

    def _forget(self, key: str, state: _State) -> None:
        if not state.loads and not state.mutations and self._states.get(key) is state:
            del self._states[key]


def _overtake(state: _State) -> None:
    for load in state.loads:
        load.valid = False
        for write in load.writes:
            write.overtaken = True
