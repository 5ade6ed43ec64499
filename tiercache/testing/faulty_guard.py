"""`FaultyBackend` on a shared fence: what a chain asks the fence goes wrong as the plain operations do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..coherence.guard import Seen
from ..entry import Entry
from ..flow import adrive, drive
from .faulty import FaultyBackend


class FaultyGuard(FaultyBackend):
    """What `FaultyBackend(inner)` returns for an inner backend that is a `tiercache.coherence.guard.Guard`."""

    def get_seen(self, key: str, *, deadline: float | None = None) -> Seen:
        """`get_seen` of the inner backend, or a fault of `get`."""
        seen: Seen = drive(self._call("get_seen", key, deadline=deadline))
        return seen

    def get_many_seen(self, keys: Sequence[str], *, deadline: float | None = None) -> dict[str, Seen]:
        """`get_many_seen` of the inner backend, or a fault of `get_many`."""
        seen: dict[str, Seen] = drive(self._call("get_many_seen", keys, deadline=deadline))
        return seen

    def put_seen(self, key: str, entry: Entry, token: str, *, deadline: float | None = None) -> bool:
        """`put_seen` of the inner backend, or a fault of `put`."""
        return bool(drive(self._call("put_seen", key, entry, token, deadline=deadline)))

    def put_many_seen(
        self, entries: Mapping[str, Entry], tokens: Mapping[str, str], *, deadline: float | None = None
    ) -> set[str]:
        """`put_many_seen` of the inner backend, or a fault of `put_many`."""
        return set(drive(self._call("put_many_seen", entries, tokens, deadline=deadline)))

    def bury(self, keys: Sequence[str], mark: bytes, *, deadline: float | None = None) -> set[str]:
        """`bury` of the inner backend, or a fault of `delete_many`."""
        return set(drive(self._call("bury", keys, mark, deadline=deadline)))

    def close_tombs(self, keys: Sequence[str], mark: bytes, *, deadline: float | None = None) -> int:
        """`close_tombs` of the inner backend, or a fault of `delete_many`."""
        return int(drive(self._call("close_tombs", keys, mark, deadline=deadline)))

    def overtaken(self, tokens: Mapping[str, str], *, deadline: float | None = None) -> set[str]:
        """`overtaken` of the inner backend, or a fault of `head`."""
        return set(drive(self._call("overtaken", tokens, deadline=deadline)))

    async def aget_seen(self, key: str, *, deadline: float | None = None) -> Seen:
        """`get_seen`, awaited."""
        seen: Seen = await adrive(self._call("get_seen", key, deadline=deadline))
        return seen

    async def aget_many_seen(self, keys: Sequence[str], *, deadline: float | None = None) -> dict[str, Seen]:
        """`get_many_seen`, awaited."""
        seen: dict[str, Seen] = await adrive(self._call("get_many_seen", keys, deadline=deadline))
        return seen

    async def aput_seen(self, key: str, entry: Entry, token: str, *, deadline: float | None = None) -> bool:
        """`put_seen`, awaited."""
        return bool(await adrive(self._call("put_seen", key, entry, token, deadline=deadline)))

    async def aput_many_seen(
        self, entries: Mapping[str, Entry], tokens: Mapping[str, str], *, deadline: float | None = None
    ) -> set[str]:
        """`put_many_seen`, awaited."""
        return set(await adrive(self._call("put_many_seen", entries, tokens, deadline=deadline)))

    async def abury(self, keys: Sequence[str], mark: bytes, *, deadline: float | None = None) -> set[str]:
        """`bury`, awaited."""
        return set(await adrive(self._call("bury", keys, mark, deadline=deadline)))

    async def aclose_tombs(self, keys: Sequence[str], mark: bytes, *, deadline: float | None = None) -> int:
        """`close_tombs`, awaited."""
        return int(await adrive(self._call("close_tombs", keys, mark, deadline=deadline)))

    async def aovertaken(self, tokens: Mapping[str, str], *, deadline: float | None = None) -> set[str]:
        """`overtaken`, awaited."""
        return set(await adrive(self._call("overtaken", tokens, deadline=deadline)))

    def __repr__(self) -> str:
        return f"<FaultyBackend on {self.inner!r}>"
