"""Log records carry fields with stable names; the formatter writes each as a line of JSON."""

from __future__ import annotations

import ast
import io
import json
import logging
import logging.config
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, TierChain
from tiercache.errors import BackendUnavailable, ConfigurationError
from tiercache.logs import EVENTS, FIELDS, JsonFormatter, fields

ROOT = Path(__file__).parents[1]
METHODS = {"debug", "info", "warning", "error", "critical", "exception", "log"}


@cache
def calls() -> list[tuple[str, ast.Call]]:
    """All calls in the files of the library that log, with where they are."""
    paths = [*(ROOT / "tiercache").rglob("*.py"), *(ROOT / "backends").rglob("*.py")]
    texts = {path: path.read_text(encoding="utf-8") for path in paths}
    return [
        (f"{path.relative_to(ROOT)}:{node.lineno}", node)
        for path, text in texts.items()
        if "logging" in text
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
    ]


def logging_calls() -> Iterator[tuple[str, ast.Call]]:
    for where, call in calls():
        match call.func:
            case ast.Attribute(value=ast.Name(id="logger" | "log" | "_log"), attr=method) if method in METHODS:
                yield where, call


def calls_of_fields() -> Iterator[tuple[str, ast.Call]]:
    for where, call in calls():
        match call:
            case ast.Call(func=ast.Name(id="fields"), args=[ast.Constant(), *_]):
                yield where, call


def test_every_record_of_the_library_carries_fields():
    found = list(logging_calls())
    assert len(found) >= 12
    assert [where for where, call in found if "extra" not in {word.arg for word in call.keywords}] == []


def test_every_event_is_in_the_table_with_its_fields():
    seen = set()
    for where, call in calls_of_fields():
        event = ast.literal_eval(call.args[0])
        assert event in EVENTS, where
        assert {word.arg for word in call.keywords} <= set(EVENTS[event][1]), where
        seen.add(event)
    assert seen == set(EVENTS), "an event that nothing logs any more leaves the table"


def test_the_fields_are_described():
    assert {name for _, names, _ in EVENTS.values() for name in names} | {"event"} == set(FIELDS)


def test_a_tier_that_fails_and_recovers_says_so_in_fields(clock, caplog):
    caplog.set_level(logging.INFO, "tiercache")
    remote = RemoteBackend(clock)
    with Cache(TierChain(MemoryBackend(clock=clock), remote, clock=clock)) as cache:
        remote.break_down(BackendUnavailable("down"))
        while cache.chain.tiers[1].breaker.state == "closed":
            cache.get("key")
        remote.faults.clear()
        assert cache.health()["remote"].ok
    shown = [
        {name: getattr(record, name) for name in ("event", *EVENTS[record.event][1]) if hasattr(record, name)}
        for record in caplog.records
    ]
    assert {"event": "tier.failed", "tier": "remote", "kind": "BackendUnavailable"} in shown
    opened = next(each for each in shown if each["event"] == "tier.opened")
    assert (opened["tier"], opened["kind"]) == ("remote", "BackendUnavailable")
    assert opened["seconds"] > 0
    assert "tier.closed" in {each["event"] for each in shown}


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """What a handler that `dictConfig` made writes."""
    stream = io.StringIO()
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": {"()": "tiercache.logs.JsonFormatter", "static": {"service": "search"}}},
            "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "json", "stream": stream}},
            "loggers": {"tests.json": {"handlers": ["out"], "level": "DEBUG", "propagate": False}},
        }
    )

    class Lines(list[str]):
        def __iter__(self) -> Iterator[str]:
            return iter(stream.getvalue().splitlines())

    yield Lines()
    logging.getLogger("tests.json").handlers.clear()


def test_a_record_becomes_a_line_of_json(lines):
    logger = logging.getLogger("tests.json")
    logger.warning("tier %s: %s", "redis", "gone", extra=fields("tier.failed", tier="redis", kind="BackendTimeout"))
    (line,) = map(json.loads, lines)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "WARNING",
        "logger": "tests.json",
        "message": "tier redis: gone",
        "service": "search",
        "event": "tier.failed",
        "tier": "redis",
        "kind": "BackendTimeout",
    }


def test_a_traceback_is_part_of_the_line(lines):
    try:
        {}["nothing there"]
    except KeyError:
        logging.getLogger("tests.json").exception("it failed")
    (line,) = map(json.loads, lines)
    assert line["error"].splitlines()[-1] == "KeyError: 'nothing there'"


def test_what_json_cannot_hold_is_written_as_text(lines):
    logging.getLogger("tests.json").info("a path", extra={"path": Path("a/b"), "umlaut": "ü"})
    (line,) = map(json.loads, lines)
    assert (line["path"], line["umlaut"]) == ("a/b", "ü")


def test_no_field_of_a_record_takes_the_place_of_one_of_the_line(lines):
    names = ("time", "level", "logger", "error", "service", "extra_level", "own")
    logging.getLogger("tests.json").error("said", extra=dict.fromkeys(names, "forged"))
    (line,) = map(json.loads, lines)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "ERROR",
        "logger": "tests.json",
        "message": "said",
        "service": "search",
        "extra_time": "forged",
        "extra_extra_level": "forged",
        "extra_logger": "forged",
        "extra_error": "forged",
        "extra_service": "forged",
        "extra_level": "forged",
        "own": "forged",
    }


def test_a_traceback_is_not_hidden_by_a_field(lines):
    try:
        {}["nothing there"]
    except KeyError:
        logging.getLogger("tests.json").exception("it failed", extra={"error": "none"})
    (line,) = map(json.loads, lines)
    assert line["error"].splitlines()[-1] == "KeyError: 'nothing there'"
    assert line["extra_error"] == "none"


@pytest.mark.parametrize("name", ["time", "level", "logger", "message", "error"])
def test_what_each_line_has_of_its_own_is_not_static(name):
    with pytest.raises(ConfigurationError, match=f"static: {name}"):
        JsonFormatter(static={name: "x"})


def test_a_line_can_be_written_whatever_a_path_holds():
    record = logging.makeLogRecord({"msg": "%s cannot be read", "args": (b"a\xff".decode("utf-8", "surrogateescape"),)})
    line = JsonFormatter().format(record).encode("utf-8")
    assert json.loads(line)["message"] == "a\udcff cannot be read"


def test_in_a_trace_the_line_names_it():
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace import TracerProvider

    record = logging.makeLogRecord({"msg": "said"})
    with TracerProvider().get_tracer("tests").start_as_current_span("request") as span:
        line = json.loads(JsonFormatter().format(record))
    assert int(line["trace_id"], 16) == span.get_span_context().trace_id
    assert int(line["span_id"], 16) == span.get_span_context().span_id
    assert "trace_id" not in json.loads(JsonFormatter().format(record))


def test_ids_of_a_trace_in_a_record_count_where_there_is_no_trace():
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace import TracerProvider

    record = logging.makeLogRecord({"msg": "said", "trace_id": "given"})
    assert json.loads(JsonFormatter().format(record))["trace_id"] == "given"
    with TracerProvider().get_tracer("tests").start_as_current_span("request") as span:
        line = json.loads(JsonFormatter().format(record))
    assert int(line["trace_id"], 16) == span.get_span_context().trace_id
    assert line["extra_trace_id"] == "given"
