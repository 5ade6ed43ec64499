"""A store that carries notices, in this process: what several chains share, and can be cut off from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.coherence.carrier import Listener
from tiercache.entry import Clock, Entry
from tiercache.errors import BackendUnavailable


class Hub:
    """What the carriers have in common: entries, listeners, all messages so far; `error` is what keeps them apart."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.marks: dict[str, Entry] = {}
        self.listeners: list[Listener] = []
        self.messages: list[bytes] = []
        self.error: Exception | None = None
        self.answers = True

    def cut(self) -> None:
        """Nobody hears anything any more."""
        self.error = BackendUnavailable("cut")
        for listener in self.listeners:
            listener.lost(self.error)  # type: ignore[arg-type]

    def mend(self) -> None:
        self.error = None
        for listener in self.listeners:
            listener.live()


class Carrier(RemoteBackend):
    """A remote store whose entries, and notices, are the hub's."""

    scheme: ClassVar[str] = "carrier"

    def __init__(self, clock: Clock, hub: Hub) -> None:
        super().__init__(clock, name="carrier")
        self.entries, self.marks = hub.entries, hub.marks
        self.hub = hub
        self.timeout = 0.1

    def announce(self, messages: Sequence[bytes], *, deadline: float | None = None) -> None:
        self._enter("announce")
        if self.hub.error is not None:
            raise self.hub.error
        for message in messages:
            self.hub.messages.append(message)
            for listener in self.hub.listeners:
                listener.heard(message)

    async def aannounce(self, messages: Sequence[bytes], *, deadline: float | None = None) -> None:
        self.announce(messages)

    def listen(self, listener: Listener) -> None:
        self.trace.append("listen")
        self.hub.listeners.append(listener)
        if self.hub.answers:
            if self.hub.error is None:
                listener.live()
            else:
                listener.lost(self.hub.error)  # type: ignore[arg-type]

    def unlisten(self, listener: Listener) -> None:
        if listener in self.hub.listeners:
            self.hub.listeners.remove(listener)


class Process:
    """Stands for a process: memory of its own, the hub's store, and perhaps another store below."""

    def __init__(self, clock: Clock, hub: Hub, *below: Tier, strict: bool = False, coherent: bool = True) -> None:
        self.memory = MemoryBackend(clock=clock)
        self.carrier = Carrier(clock, hub)
        self.chain = TierChain(self.memory, self.carrier, *below, strict=strict, clock=clock, coherent=coherent)
        self.cache = Cache(self.chain, namespace="n")

    @property
    def coherence(self):
        return self.chain.coherence

    def holds(self, key: str) -> bool:
        return self.memory.get(f"n:{key}") is not None
