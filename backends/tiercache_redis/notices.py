"""Hearing notices: a connection that is subscribed, in a daemon thread that opens it again whenever it breaks.

A connection that is silent is asked for a sign of life: one that is dead without saying so is noticed within a second.
"""

from __future__ import annotations

import logging
import random
import socket
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any

from tiercache import fork
from tiercache.errors import AccessDenied, BackendTimeout, BackendUnavailable, ConfigurationError, TiercacheError
from tiercache.logs import fields

from .errors import VENDOR_ERRORS, mapped
from .frames import Frames
from .layout import Command, pack

if TYPE_CHECKING:
    from tiercache.coherence.carrier import Listener

logger = logging.getLogger("tiercache")

SILENCE = 0.5
"""Seconds without a message after which the server is asked for a sign of life, and that it may take for one."""
FIRST_RETRY, LAST_RETRY = 0.05, 2.0
"""Seconds before the first attempt to connect again, and before later ones at most."""
REFUSED_RETRY = 30.0
"""Seconds before another attempt where the server refuses to let this user listen."""

_inherited: list[Any] = []
"""Connections of the parent: a forked child that closed them would end them for the parent."""


class Subscription:
    """Listeners to a channel, and the thread that serves them while there are any.

    Args:
        connect: returns a new connection of redis-py's, blocking.
        channel: what to listen to.
    """

    def __init__(self, connect: Callable[[], Any], channel: bytes) -> None:
        self._connect = connect
        self._channel = channel
        self._closed = False
        self._connection: Any = None
        self.after_fork()
        fork.register(self)

    def after_fork(self) -> None:
        """The thread stayed in the parent; listeners come again."""
        if self._connection is not None:
            _inherited.append(self._connection)
            self._connection = None
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._listeners: list[weakref.ref[Listener]] = []
        self._live = False

    def add(self, listener: Listener) -> None:
        """Serve a listener, from now on and for as long as it lives."""
        with self._lock:
            if self._closed or listener in self._alive():
                return
            self._listeners.append(weakref.ref(listener))
            self._wake.clear()
            if self._live:
                listener.live()
            elif self._thread is None:
                self._thread = threading.Thread(target=self._run, name="tiercache-notices", daemon=True)
                self._thread.start()

    def remove(self, listener: Listener) -> None:
        """Serve a listener no more."""
        with self._lock:
            self._listeners = [known for known in self._listeners if known() not in (None, listener)]
            if not self._listeners:
                self._hurry()

    def close(self) -> None:
        """Serve nobody any more."""
        with self._lock:
            self._closed = True
            self._listeners = []
            self._hurry()

    def _hurry(self) -> None:
        """Have the thread look up from what it waits for; who comes now is served by another connection."""
        self._wake.set()
        self._live = False
        if self._connection is not None:
            with suppress(OSError, AttributeError):  # it is closed already
                self._connection.wire.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        failures = 0
        while self._is_wanted():
            error, lasted = self._listen_once()
            if error is not None and self._is_wanted():
                failures = 0 if lasted else failures + 1
                self._tell_lost(error)
                refused = isinstance(error, (AccessDenied, ConfigurationError))
                longest = REFUSED_RETRY if refused else min(LAST_RETRY, FIRST_RETRY * 2.0 ** min(failures, 10))
                self._wake.wait(longest * random.uniform(0.5, 1.0))  # noqa: S311 - no secret

    def _listen_once(self) -> tuple[TiercacheError | None, bool]:
        """Listen on one connection; return why it ended, if it was not meant to, and whether it ever listened."""
        connection, subscribed = None, False
        try:
            connection = self._connect()
            frames = self._subscribe(connection)
            subscribed = True
            self._serve(connection, frames)
        except VENDOR_ERRORS as error:
            return mapped(error), subscribed
        except TiercacheError as error:
            return error, subscribed
        except Exception as error:  # noqa: BLE001 - a thread that ended would leave memory deaf and believed
            # No traceback: what it quotes may be a key.
            kind = type(error).__name__
            extra = fields("notices.failed", backend="redis", kind=kind)
            logger.error("listening to notices failed: %s", kind, extra=extra)  # noqa: TRY400
            return BackendUnavailable("listening to the notices of other processes failed"), subscribed
        finally:
            self._connection = None
            if connection is not None:
                connection.disconnect()
        return None, subscribed

    def _subscribe(self, connection: Any) -> Frames:
        self._connection = connection
        frames = Frames(connection.wire)
        _send(connection, (b"SUBSCRIBE", self._channel))
        if frames.next(SILENCE) is None:
            raise BackendTimeout("Redis did not answer to SUBSCRIBE")
        with self._lock:
            self._live = True
            for listener in self._alive():
                listener.live()
        return frames

    def _serve(self, connection: Any, frames: Frames) -> None:
        asked = False
        while not self._wake.is_set():
            message = frames.next(SILENCE)
            if message is not None:
                asked = False
                if message[0] == b"message":
                    self._hand_out(message[2])
            elif not self._is_wanted():
                return
            elif asked:
                raise BackendTimeout("Redis gave no sign of life on the connection for notices")
            else:
                asked = True
                _send(connection, (b"PING",))

    def _hand_out(self, message: Any) -> None:
        for listener in self._alive():  # held no longer than this: one that nobody else holds is to go
            listener.heard(message)

    def _tell_lost(self, error: TiercacheError) -> None:
        with self._lock:
            self._live = False
            for listener in self._alive():
                listener.lost(error)

    def _alive(self) -> list[Listener]:
        return [listener for known in self._listeners if (listener := known()) is not None]

    def _is_wanted(self) -> bool:
        """Whether this thread is to go on; if not, it is forgotten."""
        with self._lock:
            if self._thread is not threading.current_thread():
                return False
            if self._alive():
                return True
            self._thread, self._live = None, False
            return False


def _send(connection: Any, command: Command) -> None:
    connection.wire.ends = monotonic() + SILENCE
    connection.send_packed_command([pack([command])], check_health=False)
