"""`Judge`: whether a stream of events has come to its end, and whether what it said may be stored.

While a stream passes, only its end marker is looked for, in its bytes; events are read when that was found, or when
there are no more of them, and their JSON at the very end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from ...llm.kinds import Kind
from .assembled import ASSEMBLERS, RESPONSE_ENDS, is_error, read
from .events import Event, Events
from .merging import merged

DONE = b"[DONE]"
_MARKERS: dict[Kind, tuple[bytes, ...]] = {
    "chat": (DONE,),
    "completion": (DONE,),
    "response": tuple(end.encode() for end in RESPONSE_ENDS),
    "message": (b"message_stop",),
}
_MARKER = {kind: re.compile(b"|".join(map(re.escape, markers))).search for kind, markers in _MARKERS.items()}
_ENDS = {"response": RESPONSE_ENDS, "message": ("message_stop",)}
_object_in = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a stream.

    Attributes:
        reason: why it must not be stored, a word of `StorePolicy.refusal`; None: it may be.
        answer: what it said, as the same request without a stream would have been answered; None: it is no answer.
    """

    reason: str | None
    answer: Mapping[str, Any] | None = None


class Judge:
    """Follows one stream.

    Args:
        kind: what was asked.
        policy: what may be stored: anything with a `refusal(kind, answer)`.

    Attributes:
        ended: whether the event that ends a stream has passed, whole.
    """

    __slots__ = (
        "_checked",
        "_events",
        "_kind",
        "_longest",
        "_marker",
        "_markers",
        "_policy",
        "_suspects",
        "_tail",
        "_unread",
        "ended",
    )

    def __init__(self, kind: Kind, policy: Any) -> None:
        self.ended = False
        self._kind: Kind = kind
        self._policy = policy
        self._markers = _MARKERS[kind]
        self._marker = _MARKER[kind]
        self._longest = max(map(len, self._markers))
        self._events = Events()
        self._checked = 0
        self._unread: list[bytes] = []
        self._tail = b""
        self._suspects = False

    def feed(self, chunk: bytes) -> bool:
        """Take the next decoded bytes; return whether the end has passed. What follows the end is not looked at."""
        if self.ended:
            return True
        self._unread.append(chunk)
        if not self._suspects:
            seen = self._tail + chunk if self._tail else chunk
            if self._marker(seen) is None:
                # No marker goes on behind the end of a line.
                self._tail = b"" if seen.endswith(b"\n") else seen[1 - self._longest :]
                return False
            self._suspects = True
        self._read()
        if self._events.between:  # else the event that it is part of is still to come
            self._suspects, self._tail = False, b""
        return self.ended

    def finish(self) -> bool:
        """There are no more bytes; return whether the end has passed."""
        if not self.ended:
            self._read()
            self._events.end()
            self._look()
            # A last line without the empty one after it: a client stops there, with nothing missing.
            self.ended = self.ended or (DONE in self._markers and self._events.begun == DONE)
        return self.ended

    def verdict(self) -> Verdict:
        """Say what came of the stream, as far as it was read."""
        if not self.ended:
            self._read()
        events = [event for event in self._events.read if not event[1].startswith(DONE)]
        objects = read(self._kind, [data for _, data in events])
        if any(name == b"error" for name, _ in events) or any(map(is_error, objects or ())):
            return Verdict("error")
        if objects is None:
            return Verdict("malformed")
        if not self.ended:
            return Verdict("incomplete")
        try:
            answer = ASSEMBLERS[self._kind](objects)
        except (TypeError, AttributeError, KeyError, ValueError):  # of another shape than is documented
            answer = None
        if answer is None:
            return Verdict("malformed")
        return Verdict(self._policy.refusal(self._kind, answer), answer)

    def _read(self) -> None:
        unread, self._unread = self._unread, []
        self._events.feed(merged(self._kind, b"".join(unread)))
        self._look()

    def _look(self) -> None:
        """Look for the end among the events that are new; what is behind it does not count."""
        events, is_done = self._events.read, DONE in self._markers
        for number in range(self._checked, len(events)):
            if events[number][1].startswith(DONE) if is_done else self._is_end(events[number]):
                self.ended = True
                del events[number + 1 :]
                break
        self._checked = len(events)

    def _is_end(self, event: Event) -> bool:
        _, data = event
        if not any(marker in data for marker in self._markers):
            return False
        try:
            return _object_in(data).get("type") in _ENDS[self._kind]
        except (msgspec.DecodeError, ValueError, RecursionError):
            return False
