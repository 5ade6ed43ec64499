"""What tiercache logs, each record with the same fields every time; and `JsonFormatter`, which writes them as JSON.

All records come from the logger `tiercache`. None holds a key, a value, a secret or a URL with credentials. Those
that a tier could repeat a thousand times a second are written once a minute for each tier and kind.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from .errors import ConfigurationError

FIELDS: Mapping[str, str] = {
    "event": "what happened, a name of the table above",
    "tier": "the tier's name",
    "backend": "the scheme of the store, where it does not know its tier",
    "kind": "the class of the error",
    "seconds": "how long",
    "entries": "how many entries",
    "max_entries": "the option that was too small",
    "variables": "names of environment variables",
}
"""The fields that records may carry, and what they say."""
EVENTS: Mapping[str, tuple[str, tuple[str, ...], str]] = {
    "tier.failed": (
        "WARNING",
        ("tier", "kind"),
        "an operation failed; ERROR, once, for wrong configuration",
    ),
    "tier.opened": ("WARNING", ("tier", "kind", "seconds"), "the breaker opened: the tier is not asked for so long"),
    "tier.closed": ("INFO", ("tier", "seconds"), "the tier answers again, after so long"),
    "tier.recovery_failed": ("ERROR", ("tier", "kind"), "a function in `on_recovery` raised"),
    "tier.news_failed": ("WARNING", ("tier", "kind"), "a tier could not take the news of another process"),
    "entries.lost": ("WARNING", ("tier", "backend", "entries"), "entries were not written before the end"),
    "notices.failed": ("ERROR", ("backend", "kind"), "listening to other processes failed in an unforeseen way"),
    "task.failed": ("ERROR", ("kind",), "something that is done now and then failed in an unforeseen way"),
    "storage_class.unsuitable": (
        "WARNING",
        ("kind",),
        "a storage class does not suit what is stored",
    ),
    "environment.unknown": ("WARNING", ("variables",), "variables that begin with TIERCACHE_ and mean nothing"),
    "segment.unreadable": ("WARNING", ("kind",), "a packed segment cannot be read; `kind` says in what way"),
    "segment.news_unread": ("DEBUG", ("kind",), "a segment that another process told of could not be read yet"),
    "segment.not_stored": (
        "DEBUG",
        ("backend", "kind"),
        "what waits to be packed was not stored, and is tried again",
    ),
    "recording.ended": ("WARNING", ("kind",), "accesses are no longer recorded: the file could not be written"),
    "reports.not_cleared": (
        "DEBUG",
        ("kind",),
        "reports of ended processes were not deleted",
    ),
    "catalogue.full": ("WARNING", ("max_entries",), "packed entries beyond `max_entries` are not found"),
}
"""Each event: its level, its fields beside `event`, and what happened. Names stay as they are."""

OF_A_LINE = ("time", "level", "logger", "message", "error")
"""The fields that a line of JSON has of its own, for every record."""

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def fields(event: str, **values: Any) -> dict[str, Any]:
    """Return the `extra` of a record."""
    return {"event": event, **values}


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON, for tiercache's records and for those of others.

    The line has `time` (ISO 8601, UTC), `level`, `logger`, `message`, whatever the record carries in `extra`, and
    `error` with the traceback where there is one. In a trace of OpenTelemetry also `trace_id` and `span_id`. None of
    these can be replaced: a field in `extra` that is called like one of them, or like one in `static`, is written as
    `extra_level` and so on.

    Args:
        static: what is written in each line, such as `{"service": "search"}`.

    Raises:
        ConfigurationError: `static` holds one of the fields that each line has of its own.
    """

    def __init__(self, *, static: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self._static = dict(static or {})
        taken = [name for name in OF_A_LINE if name in self._static]
        if taken:
            raise ConfigurationError(f"static: {', '.join(taken)} is a field that each line has; name it otherwise")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self._static,
        }
        own = {**line, **_trace()}
        if record.exc_info:
            own["error"] = self.formatException(record.exc_info)
        given = {name: value for name, value in vars(record).items() if name not in _OWN}
        for name in given:
            line[_free(name, own, given)] = given[name]
        line |= own
        text = json.dumps(line, default=str, ensure_ascii=False)
        return text.encode("utf-8", "backslashreplace").decode()  # a path may hold what no stream can write


def _free(name: str, own: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Return what a field of `extra` is called in the line."""
    if name not in own and name != "error":
        return name
    name = f"extra_{name}"
    while name in own or name in given:
        name = f"extra_{name}"
    return name


def _trace() -> dict[str, str]:
    """Return the ids of the trace that this thread or task is part of, if OpenTelemetry is in use."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return {}
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
