"""Reading access logs: CSV or JSON lines of time, key and size, and what else is known of each access."""

from __future__ import annotations

import csv
import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import zstandard

from ..errors import ConfigurationError
from .columns import FIELDS, NAMES, Columns, checked_choice, columns_of
from .lines import open_log

SHOWN = 5
"""Bad lines whose numbers are kept, of each kind."""
MARK = "# tiercache accesses"
"""Begins the first line of a log that `Recorder` sampled; `sample=` in it is the share of the keys."""
_EVERY = 8192  # lines between two calls of `progress`
_LATEST = 1e11  # seconds; a larger time is in milliseconds, microseconds or nanoseconds
_OPS = {"get", "set", "delete"}
_SPOKEN = {"read": "get", "hit": "get", "miss": "get", "put": "set", "write": "set", "add": "set", "del": "delete"}


class Access(NamedTuple):
    """One access.

    Attributes:
        time: Unix seconds.
        key: as the log has it.
        size: bytes of the value; None: unknown, as after a miss.
        op: `get`, `set` or `delete`.
        ttl: seconds that the entry lives from when it is stored; None: as told for the plan, or for ever.
        tier: that answered; empty: none, or unknown.
        namespace: of the cache.
        seconds: that computing the value takes.
        cost: of computing it, in US dollars.
        key_bytes: of the key in memory, where the log holds a hash of it.
        stored: bytes in the remote tiers, compressed.
    """

    time: float
    key: str
    size: int | None
    op: str = "get"
    ttl: float | None = None
    tier: str = ""
    namespace: str = ""
    seconds: float | None = None
    cost: float | None = None
    key_bytes: int | None = None
    stored: int | None = None


class BadLine(ValueError):
    """A line is no access; the message says why, without the line's content."""


class Reading:
    """What reading a log met, filled while it is read.

    Attributes:
        lines: that were read.
        bad: how many were no access, by reason.
        examples: the numbers of the first such lines, by reason.
        sample: the share of the keys that the log holds, if `Recorder` sampled them.
        cut_off: why the end of the file could not be read; empty: it could.
    """

    def __init__(self) -> None:
        self.lines = 0
        self.bad: Counter[str] = Counter()
        self.examples: dict[str, list[int]] = {}
        self.sample = 1.0
        self.cut_off = ""

    def refuse(self, number: int, reason: str) -> None:
        """Count a bad line."""
        self.bad[reason] += 1
        shown = self.examples.setdefault(reason, [])
        if len(shown) < SHOWN:
            shown.append(number)

    def __str__(self) -> str:
        """Return one sentence a reason; no content of a line."""
        told = []
        for reason, count in self.bad.most_common():
            numbers = ", ".join(map(str, self.examples[reason]))
            more = ", …" if count > len(self.examples[reason]) else ""
            told.append(f"{count:,} line{'s' * (count > 1)} left out: {reason} (line {numbers}{more})")
        return "\n".join(told + [self.cut_off] * bool(self.cut_off))


def read_log(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    reading: Reading | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Access]:
    """Yield the accesses of a log in the order of its lines, in memory that does not grow with it.

    Args:
        path: CSV with a header or in the order time, key, size, or JSON lines; plain, gzip or zstd.
        columns: the name or position of a field's column, where it is called otherwise.
        reading: counts what is met.
        progress: called now and then with the bytes that are read, and those of the file.

    Raises:
        ConfigurationError: the file is empty, or no columns for time, key and size can be found in it.
        OSError: it cannot be opened.
    """
    chosen, reading = checked_choice(columns or {}), reading or Reading()
    parse: Callable[[str], Access] | None = None
    with open_log(path) as source:
        try:
            for number, line in source.lines():
                if progress is not None and not number % _EVERY:
                    progress(source.position, source.size)
                if line is not None and line.startswith("#"):
                    if number == 1 and line.startswith(MARK):
                        reading.sample = _sample(line)
                    continue
                if parse is None and line is not None:
                    parse, is_header = _parser(line, chosen)
                    if is_header:
                        continue
                reading.lines += 1
                try:
                    if line is None or parse is None:
                        raise BadLine("it is too long")  # noqa: TRY301 - counted with the others
                    yield parse(line)
                except BadLine as error:
                    reading.refuse(number, str(error))
        except ConfigurationError as error:
            raise ConfigurationError(f"the log {path}: {error}") from None
        except (EOFError, zlib.error, zstandard.ZstdError, OSError) as error:
            if parse is None:
                raise ConfigurationError(f"the log {path} cannot be read: {type(error).__name__}") from None
            reading.cut_off = f"the file ends in the middle of its compressed data ({type(error).__name__})"
        if progress is not None:
            progress(source.size, source.size)
    if parse is None:
        raise ConfigurationError(f"the log {path} is empty; it needs lines of time, key and size")


def _parser(first: str, chosen: Mapping[str, str]) -> tuple[Callable[[str], Access], bool]:
    if first.lstrip("\ufeff").startswith("{"):
        return _json_parser(chosen), False
    columns = columns_of(first.lstrip("\ufeff"), chosen)
    return _csv_parser(columns), columns.has_header


def _csv_parser(columns: Columns) -> Callable[[str], Access]:
    places = [columns.places.get(field) for field in FIELDS]
    time_at, key_at, size_at = (columns.places[field] for field in FIELDS[:3])
    is_short = not any(place is not None for place in places[3:])
    fewest = max(time_at, key_at, size_at) + 1

    def parse(line: str) -> Access:
        try:
            fields = columns.split(line)
        except csv.Error:
            raise BadLine("its quotes do not close") from None
        if len(fields) < fewest:
            raise BadLine("it has too few columns")
        if is_short:
            return _access(fields[time_at], fields[key_at], fields[size_at])
        return _access(*[fields[place] if place is not None and place < len(fields) else None for place in places])

    return parse


def _json_parser(chosen: Mapping[str, str]) -> Callable[[str], Access]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    names = [(chosen[field],) if field in chosen else NAMES[field] for field in FIELDS]

    def parse(line: str) -> Access:
        try:
            document = decode(line)
        except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
            raise BadLine("it is no JSON object") from None
        return _access(*[next((document[name] for name in each if name in document), None) for each in names])

    return parse


def _access(
    time: Any,
    key: Any,
    size: Any,
    op: Any = None,
    ttl: Any = None,
    tier: Any = None,
    namespace: Any = None,
    seconds: Any = None,
    cost: Any = None,
    key_bytes: Any = None,
    stored: Any = None,
) -> Access:
    if key is None or key == "" or isinstance(key, (dict, list, bool)):
        raise BadLine("it has no key")
    return Access(
        _time(time),
        key if type(key) is str else str(key),
        _bytes(size, "size"),
        "get" if not op else _op(op),
        None if ttl is None or ttl == "" else _amount(ttl, "ttl") or None,
        str(tier or ""),
        str(namespace or ""),
        None if seconds is None or seconds == "" else _amount(seconds, "seconds"),
        None if cost is None or cost == "" else _amount(cost, "cost"),
        _bytes(key_bytes, "key_bytes"),
        _bytes(stored, "stored"),
    )


def _time(value: Any) -> float:
    try:
        moment = float(value)
    except (TypeError, ValueError):
        return _written_time(value)
    if not 0 <= moment < 1e20:
        raise BadLine("its time is no Unix time and no ISO date")
    while moment > _LATEST:
        moment /= 1000
    return moment


def _written_time(value: Any) -> float:
    try:
        written = datetime.fromisoformat(value)
        return (written if written.tzinfo else written.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        raise BadLine("its time is no Unix time and no ISO date") from None


def _bytes(value: Any, what: str) -> int | None:
    if value is None or value == "":
        return None
    amount = _amount(value, what)
    if amount != int(amount) or amount >= 2**50:
        raise BadLine(f"its {what} is no number of bytes")
    return int(amount)


def _amount(value: Any, what: str) -> float:
    try:
        amount = float(value)
    except (TypeError, ValueError):
        raise BadLine(f"its {what} is no number") from None
    if isinstance(value, bool) or not math.isfinite(amount) or amount < 0:
        raise BadLine(f"its {what} is no number from 0 on")
    return amount


def _op(value: Any) -> str:
    op = str(value).strip().lower()
    op = _SPOKEN.get(op, op)
    if op not in _OPS:
        raise BadLine("its op is none of get, set and delete")
    return op


def _sample(line: str) -> float:
    for word in line.split():
        name, _, value = word.partition("=")
        if name == "sample":
            try:
                share = float(value)
            except ValueError:
                break
            if 0 < share <= 1:
                return share
    return 1.0
