"""`Recorder`: writes which keys were asked for into a file, for `tiercache plan`.

Callers append to a bounded queue; one thread writes. What does not fit into the queue is dropped and counted.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
import zlib
from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from io import FileIO
from pathlib import Path

import msgspec

from . import fork
from .entry import Clock, Entry
from .errors import ConfigurationError
from .logs import fields
from .shutdown import watch
from .slots import Slot
from .units import Size, parse_size

MOST_WAITING = 100_000
"""Accesses that wait for the thread at most."""
EVERY = 0.5
"""Seconds between two writes."""
AT_THE_END = 1.0
"""Seconds at most that a file may take while entries wait to be written, too, as the process ends."""
MAX_BYTES = "256MiB"
FIELDS = ("time", "key", "size", "op", "ttl", "tier", "namespace", "seconds", "cost", "key_bytes")
_log = logging.getLogger("tiercache")
_Row = tuple[float, str, int | None, str, float | None, str, float | None, float | None]


class Recorder:
    """Writes accesses as CSV, or as JSON lines where the path ends with `.jsonl`.

    Args:
        path: the file; `{pid}` in it becomes the process's number, so that each process has a file of its own. What
            is there is kept, and added to.
        sample: the share of the keys whose accesses are written, chosen by a hash that is the same in all processes.
        hashed: write a hash of each key, not the key. (Who can guess a key can tell whether it is there.)
        max_bytes: with more, the file is renamed to end with `.1`, replacing an older one, and begun anew.
        clock: returns Unix seconds.

    At the end of the interpreter, and on SIGTERM after `drain_on_sigterm`, what waits is written.

    Attributes:
        written: accesses in the file.
        dropped: accesses that found the queue full, or the file not writable (about: nothing counts under a lock).
        error: why writing ended, if it did: recording is over, the cache goes on.

    Raises:
        ConfigurationError: an argument is none of these, or the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        sample: float = 1.0,
        hashed: bool = True,
        max_bytes: Size = MAX_BYTES,
        clock: Clock = time.time,
    ) -> None:
        if isinstance(sample, bool) or not isinstance(sample, (int, float)) or not 0 < sample <= 1:
            raise ConfigurationError("record_sample must be a number above 0 and up to 1, such as 0.1 for a tenth")
        try:
            self._template = os.fspath(path)
        except TypeError:
            raise ConfigurationError(f"record must be the path of a file, not of type {type(path).__name__}") from None
        self.sample = float(sample)
        self.written = self.dropped = 0
        self.error: str | None = None
        self._below = int(self.sample * 2**32)
        self._hashed = hashed
        self._most_bytes = parse_size(max_bytes, "max_bytes")
        self._clock = clock
        self._waiting: deque[_Row] = deque()
        self._owner: weakref.ref[object] | None = None
        self._writing = False
        self._file: FileIO | None = None  # no buffer: a fork would copy it, and a full disk keep it until the end
        try:
            self._open()
        except OSError as error:
            if self._file is not None:
                self._file.close()
            raise ConfigurationError(
                f"record: the file cannot be written ({error.strerror or type(error).__name__})"
            ) from None
        self._begin()
        fork.register(self)
        watch(self, is_recording=True)

    def ends_with(self, owner: object) -> None:
        """Write what waits, and end, when this object is gone, too: nobody is left to call `close`."""
        self._owner = weakref.ref(owner)

    @property
    def path(self) -> Path:
        """The file of this process."""
        return Path(self._template.replace("{pid}", str(os.getpid())))

    def reading(self, fresh: Callable[[str], Slot | None], tier: str) -> Callable[[str], Slot | None]:
        """Return a reader of memory that records its hits."""
        note, clock = self._note, self._clock

        def recorded(key: str) -> Slot | None:
            slot = fresh(key)
            if slot is not None:
                now = clock()
                life = slot.fresh_until - now
                note((now, key, len(slot.payload), "get", life, tier, None, None))
            return slot

        return recorded

    def read(self, key: str, entry: Entry | None, tier: str) -> None:
        """Record that a key was asked for, and what answered; None: nothing did."""
        now = self._clock()
        if entry is None:
            self._note((now, key, None, "get", None, "", None, None))
            return
        metadata = entry.metadata
        life = None if metadata.expires_at is None else max(0.0, metadata.expires_at - now)
        self._note((now, key, len(entry.payload), "get", life, tier, None, None))

    def stored(self, key: str, entry: Entry) -> None:
        """Record that an entry was stored."""
        now, metadata = self._clock(), entry.metadata
        life = None if metadata.expires_at is None else max(0.0, metadata.expires_at - now)
        seconds, cost = (_number(metadata.attributes.get(name)) for name in ("seconds", "usd"))
        self._note((now, key, len(entry.payload), "set", life, "", seconds, cost))

    def deleted(self, key: str) -> None:
        """Record that a key was deleted."""
        self._note((self._clock(), key, None, "delete", None, "", None, None))

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until what was recorded is in the file; return whether it is, within `timeout` seconds."""
        ends = time.monotonic() + timeout
        flushed = threading.Event()
        if not self._turn.acquire(timeout=timeout):  # a signal may have interrupted whoever has it
            return False
        try:
            if self._over or self.error is not None:
                return not self._waiting
            self._flushing.append(flushed)
            self._turn.notify()
        finally:
            self._turn.release()
        return flushed.wait(max(0.0, ends - time.monotonic()))

    @property
    def has_pending(self) -> bool:
        """Whether anything waits for the thread, or is being written."""
        return self.error is None and (bool(self._waiting) or self._writing)

    def drain(self, timeout: float) -> bool:
        """`flush`, for a second at most: entries may wait, too."""
        return self.flush(min(timeout, AT_THE_END))

    def end(self) -> None:
        """The interpreter ends."""
        self.close()

    def close(self) -> None:
        """Write what waits, for 5 seconds at most, and close the file. Later accesses are not recorded."""
        with self._turn:
            self._over = True
            self._turn.notify()
        self._thread.join(5.0)

    def after_fork(self) -> None:
        """Begin anew in a child: what waits is the parent's to write."""
        was_over = self._over
        self._waiting.clear()
        self.written = self.dropped = 0
        if was_over or self.error is not None:
            return
        if self._file is not None:
            self._file.close()  # here alone: the parent's stays open
        try:
            self._open()
        except OSError as error:
            self._fail(error)
        self._begin()

    def _begin(self) -> None:
        self._turn = threading.Condition()
        self._flushing: list[threading.Event] = []
        self._over = False
        self._thread = threading.Thread(target=self._write_on, name="tiercache-record", daemon=True)
        self._thread.start()

    def _note(self, row: _Row) -> None:
        if self._below < 2**32 and zlib.crc32(row[1].encode("utf-8", "surrogatepass")) >= self._below:
            return
        if len(self._waiting) >= MOST_WAITING or self.error is not None or self._over:
            self.dropped += 1
            return
        self._waiting.append(row)

    def _write_on(self) -> None:
        while True:
            with self._turn:
                if not self._over and not self._flushing:
                    self._turn.wait(EVERY)
                if self._owner is not None and self._owner() is None:
                    self._over = True
                over, flushed, self._flushing = self._over, self._flushing, []
            try:
                self._writing = True
                self._write()
            except OSError as error:
                self._fail(error)
            finally:
                self._writing = False
            for event in flushed:
                event.set()
            if over or self.error is not None:
                break
        try:
            if self._file is not None:
                self._file.close()
        except OSError as error:  # a network's file system tells of a full disk only now
            self._fail(error)

    def _write(self) -> None:
        waiting, count = self._waiting, len(self._waiting)
        if not count or self._file is None:
            return
        text = "".join([self._line(waiting.popleft()) for _ in range(count)])
        try:
            self._append(text)
        except OSError:
            self.dropped += count
            raise
        self.written += count
        if self._size > self._most_bytes:
            self._file.close()
            self.path.replace(f"{self.path}.1")
            self._open()

    def _open(self) -> None:
        self._file = FileIO(self.path, "a")
        self._size = self._file.seek(0, os.SEEK_END)
        if self._size == 0:
            mark = f"# tiercache accesses sample={self.sample:g}\n" if self.sample < 1 else ""
            self._append(mark + ("" if self._is_json else ",".join(FIELDS) + "\n"))

    def _append(self, text: str) -> None:
        left = memoryview(text.encode("utf-8", "surrogateescape"))
        while left and self._file is not None:
            written = self._file.write(left) or 0
            self._size += written
            left = left[written:]

    @property
    def _is_json(self) -> bool:
        return self._template.endswith(".jsonl")

    def _line(self, row: _Row) -> str:
        time, full, size, op, life, tier, seconds, cost = row
        namespace, _, key = full.partition(":")
        name = _hash(full) if self._hashed else key
        ends = None if life is None or life == float("inf") else round(life, 3)
        values = (
            round(time, 6),
            name,
            size,
            op,
            ends,
            tier,
            namespace,
            seconds,
            cost,
            len(full.encode("utf-8", "replace")),
        )
        if self._is_json:
            present = {field: value for field, value in zip(FIELDS, values, strict=True) if value not in (None, "")}
            return msgspec.json.encode(present).decode() + "\n"
        return ",".join(["" if value is None else _quoted(value) for value in values]) + "\n"

    def _fail(self, error: OSError) -> None:
        self.error = error.strerror or type(error).__name__
        self.dropped += len(self._waiting)
        self._waiting.clear()
        extra = fields("recording.ended", kind=type(error).__name__)
        _log.warning("accesses are no longer recorded: %s", self.error, extra=extra)


def _hash(full: str) -> str:
    return blake2b(full.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _quoted(value: object) -> str:
    text = str(value)
    if not any(mark in text for mark in ',"\n\r'):
        return text
    return '"' + text.replace('"', '""').replace("\n", " ").replace("\r", " ") + '"'


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0 else None
