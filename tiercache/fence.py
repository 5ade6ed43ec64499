"""The fence: nothing that was loaded before a change of its key is stored after it.

A load (a read that may promote, a computation that will store) opens an interval on its key. A mutation (set,
touch, delete, clear) makes the open loads of that key unable to store, and those that begin while it lasts are born so:
they may have read the old entry below while the mutation was passing above. Mutations of one key take turns, and
wait for a promotion that is being written at that moment.

This holds within one process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future


class Load:
    """The right to store what is being loaded, as long as nothing changed the key."""

    __slots__ = ("holders", "key", "valid", "write")

    def __init__(self, key: str, valid: bool) -> None:
        self.key = key
        self.valid = valid
        self.holders = 1
        self.write: Future[None] | None = None


class _State:
    __slots__ = ("loads", "mutations", "turn")

    def __init__(self) -> None:
        self.mutations = 0
        self.loads: set[Load] = set()
        self.turn: Future[None] | None = None


class Fence:
    """The table of open loads and mutations; it holds only keys that are being worked on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[str, _State] = {}
        self._clearing: list[str] = []

    def begin(self, key: str) -> Load:
        """Open a load of the key."""
        with self._lock:
            state = self._states.get(key)
            if state is None:
                state = self._states[key] = _State()
            clearing = self._clearing and any(map(key.startswith, self._clearing))
            load = Load(key, valid=not state.mutations and not clearing)
            state.loads.add(load)
            return load

    def hold(self, load: Load) -> None:
        """Keep the load open for one more holder (a write in the background)."""
        with self._lock:
            load.holders += 1

    def release(self, load: Load) -> None:
        """Close the load, when its last holder does."""
        with self._lock:
            load.holders -= 1
            if not load.holders:
                state = self._states[load.key]
                state.loads.discard(load)
                self._forget(load.key, state)

    def store(self, load: Load, action: Callable[[], object]) -> bool:
        """Run the action, which must be quick and local, if the load may still store; return whether it did."""
        with self._lock:
            if load.valid:
                action()
            return load.valid

    def start_write(self, load: Load) -> bool:
        """Announce a write of the load to a store; mutations then wait for `end_write`. False: it must not."""
        with self._lock:
            if load.valid and load.write is None:
                load.write = _promise()
            return load.valid

    def end_write(self, load: Load) -> None:
        """The announced write is over."""
        with self._lock:
            write, load.write = load.write, None
        if write is not None:
            write.set_result(None)

    def mutate(self, key: str, load: Load | None = None) -> Mutation | None:
        """Begin a mutation of the key.

        Args:
            key: what is changed.
            load: the mutation stores what this load made; None is returned if it no longer may.
        """
        with self._lock:
            state = self._states.get(key)
            if state is None:
                state = self._states[key] = _State()
            if load is not None and not load.valid:
                return None
            before = [open_load.write for open_load in state.loads if open_load.write is not None]
            if state.turn is not None:
                before.append(state.turn)
            for open_load in state.loads:
                open_load.valid = False
            state.mutations += 1
            turn = state.turn = _promise()
            return Mutation(key, turn, before)

    def finish(self, mutation: Mutation) -> None:
        """End a mutation: the next one of its key may go on, and new loads may store again."""
        with self._lock:
            state = self._states[mutation.key]
            state.mutations -= 1
            if state.turn is mutation.turn:
                state.turn = None
            self._forget(mutation.key, state)
        mutation.turn.set_result(None)

    def begin_clear(self, prefix: str) -> list[Future[None]]:
        """Make all loads below a prefix unable to store, until `end_clear` also new ones; return what to wait for."""
        with self._lock:
            self._clearing.append(prefix)
            writes = []
            for key, state in self._states.items():
                if key.startswith(prefix):
                    writes += [load.write for load in state.loads if load.write is not None]
                    writes += [state.turn] if state.turn is not None else []
                    for load in state.loads:
                        load.valid = False
            return writes

    def end_clear(self, prefix: str) -> None:
        """The clear is over."""
        with self._lock:
            self._clearing.remove(prefix)

    def _forget(self, key: str, state: _State) -> None:
        if not state.loads and not state.mutations:
            del self._states[key]


class Mutation:
    """A change of one key in progress; `before` is what must be over first."""

    __slots__ = ("before", "key", "turn")

    def __init__(self, key: str, turn: Future[None], before: list[Future[None]]) -> None:
        self.key = key
        self.turn = turn
        self.before = before


def _promise() -> Future[None]:
    """A future that those who wait for it cannot cancel."""
    promise: Future[None] = Future()
    promise.set_running_or_notify_cancel()
    return promise
