"""What a backend offers that carries short messages between processes. Optional for backends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ..errors import TiercacheError


class Listener(Protocol):
    """Whoever wants to hear notices. A carrier calls it from a thread of its own, one call at a time."""

    def live(self) -> None:
        """From now on all notices arrive; what was sent before did not."""
        ...

    def heard(self, message: bytes) -> None:
        """A notice arrived."""
        ...

    def lost(self, error: TiercacheError) -> None:
        """Notices no longer arrive, or did not from the first; it is being tried again."""
        ...


@runtime_checkable
class NoticeCarrier(Protocol):
    """A backend that carries short messages between the processes that use it.

    One whose `put`, `put_many`, `delete` and `delete_many`, and their a-twins, take the keyword `letter` (a
    `tiercache.coherence.notice.Letter`, or None) sends its messages together with the write.
    """

    def announce(self, messages: Sequence[bytes], *, deadline: float | None = None) -> None:
        """Send messages to everybody who listens, this process among them."""
        ...

    async def aannounce(self, messages: Sequence[bytes], *, deadline: float | None = None) -> None:
        """`announce`, awaited."""
        ...

    def listen(self, listener: Listener) -> None:
        """Begin to listen in the background, for as long as the listener lives; returns at once."""
        ...

    def unlisten(self, listener: Listener) -> None:
        """Call the listener no more."""
        ...
