"""Where in a line of a log the time, the key, the size and the rest stand."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence

from ..errors import ConfigurationError

NAMES: Mapping[str, tuple[str, ...]] = {
    "time": ("time", "timestamp", "ts", "t", "date", "at", "when"),
    "key": ("key", "id", "obj", "obj_id", "object", "object_id", "key_hash"),
    "size": ("size", "bytes", "obj_size", "object_size", "value_size", "length"),
    "op": ("op", "operation", "command", "verb"),
    "ttl": ("ttl", "expires_in", "lifetime"),
    "tier": ("tier", "answered_by"),
    "namespace": ("namespace", "ns"),
    "seconds": ("seconds", "recompute_seconds", "latency", "duration"),
    "cost": ("cost", "recompute_cost", "usd", "price"),
    "key_bytes": ("key_bytes", "key_size"),
    "stored": ("stored", "stored_bytes", "stored_size"),
}
"""What each field may be called in a header, in small letters."""
FIELDS = tuple(NAMES)
NEEDED: tuple[str, ...] = ("time", "key", "size")
DELIMITERS = (",", "\t", ";", "|", " ")


class Columns:
    """The place of each field.

    Attributes:
        delimiter: between the fields of a line.
        places: the position of each known field, counted from 0.
        has_header: whether the first line names the fields.
    """

    def __init__(self, delimiter: str, places: Mapping[str, int], *, has_header: bool) -> None:
        self.delimiter = delimiter
        self.places = dict(places)
        self.has_header = has_header

    def split(self, line: str) -> Sequence[str]:
        """Return the fields of a line; raises `csv.Error`."""
        if '"' in line:
            return next(csv.reader((line,), delimiter=self.delimiter, strict=True))
        return line.split(self.delimiter)


def columns_of(first: str, chosen: Mapping[str, str]) -> Columns:
    """Return where the fields stand, from the first line of a CSV file and from what somebody chose.

    Args:
        first: the line. If none of its fields is a number it is a header.
        chosen: a name of the header, or a position counted from 0, for each field that is given.

    Raises:
        ConfigurationError: time, key or size cannot be found, or a chosen column is not there.
    """
    delimiter = max(DELIMITERS, key=lambda each: (first.count(each) >= len(NEEDED) - 1, first.count(each)))
    if delimiter == " " and any(each in first for each in DELIMITERS[:-1]):
        delimiter = max(DELIMITERS[:-1], key=first.count)
    fields = [field.strip().strip('"') for field in first.split(delimiter)]
    has_header = not any(_is_number(field) for field in fields)
    places: dict[str, int]
    if has_header:
        places = _named([field.lower() for field in fields])
    else:
        places = {name: place for place, name in enumerate(NEEDED)} if len(fields) >= len(NEEDED) else {}
    for name, column in chosen.items():
        places[name] = _position(name, column, fields if has_header else None, len(fields))
    missing = [name for name in NEEDED if name not in places]
    if missing:
        raise ConfigurationError(
            f"no column for {' and '.join(missing)}: name it, as in --column {missing[0]}="
            f"{'NAME' if has_header else 'POSITION'} (positions count from 0)"
        )
    return Columns(delimiter, places, has_header=has_header)


def checked_choice(chosen: Mapping[str, str]) -> dict[str, str]:
    """Return the chosen columns, or raise a ConfigurationError for a field that there is not."""
    for name in chosen:
        if name not in NAMES:
            raise ConfigurationError(f"a log has no field {name!r}; the fields are {', '.join(FIELDS)}")
    return dict(chosen)


def _named(header: Sequence[str]) -> dict[str, int]:
    return {
        field: next(header.index(name) for name in names if name in header)
        for field, names in NAMES.items()
        if any(name in header for name in names)
    }


def _position(field: str, column: str, header: Sequence[str] | None, width: int) -> int:
    if header is not None and column in header:
        return header.index(column)
    if column.isdecimal() and int(column) < width:
        return int(column)
    known = f"its columns are {', '.join(header)}" if header else f"it has {width} columns, the first is 0"
    raise ConfigurationError(f"the log has no column {column!r} for {field}; {known}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
