"""Envelopes written by earlier releases: today's decoder reads them, and today's encoder writes the same bytes.

`python -m tests.properties.test_golden` writes the files of new entries below tests/golden/. A file that is there is
never written again: a format that changes is a new version and a new file, beside the old one.
"""

from __future__ import annotations

import datetime as dt
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from tests.properties.values import Answer, Chunk, Message, Span, Usage, canonical
from tiercache import codec, envelope
from tiercache.entry import Entry, Metadata
from tiercache.errors import UnknownFormat

FILES = Path(__file__).parent.parent / "golden"
EVERYTHING = {
    "none": None,
    "bools": [True, False],
    "ints": [0, -1, 127, 128, 2**32, 2**63, -(2**63), 2**64, -(2**100)],
    "floats": [0.0, -0.0, 1.5, float("inf"), float("nan")],
    "texts": ["", "é", "漢", "😀"],
    "bytes": [b"", b"\x00\xff", bytearray(b"ab")],
    "tuples": ((), (1, (2, [3]))),
    "sets": [set(), {1}, frozenset({"a"})],
    "times": [
        dt.datetime(2024, 2, 29, 12, 30, 1, 5),
        dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.UTC),
        dt.datetime(2024, 2, 29, 12, 30, tzinfo=dt.timezone(dt.timedelta(hours=-3, minutes=-30))),
        dt.date(2024, 2, 29),
        dt.time(1, 2, 3, 4),
        dt.timedelta(-1, 5, 7),
    ],
    "numbers": [Decimal("1.10"), Decimal("NaN"), 1.5 - 2j, UUID(int=5)],
    "maps": [{1: "int", (1, 2): "tuple", b"b": "bytes", None: "none"}, {}],
    "arrays": [np.arange(4, dtype="<f4").reshape(2, 2), np.array(["a", "é"]), np.array(["2024-01-01"], "<M8[D]")],
}
METADATA: dict[str, Any] = {
    "created_at": 1.7e9,
    "expires_at": 1.8e9,
    "stale_until": 1.9e9,
    "as_of": 1_699_999_999.5,
    "tags": ("doc:7", "étiquette"),
    "attributes": {"model": "m-1", "tokens": 42, "price": 0.25, "cached": True, "tenant": None, "städte": "Köln"},
}
# name: the value, what else is known of it, the type it is read as
ENTRIES: dict[str, tuple[Any, dict[str, Any], type[Any] | None]] = {
    "bytes": (b"raw bytes \x00\xff", {}, None),
    "bytes-empty": (b"", {}, None),
    "bytes-tags-attributes": (b"payload", METADATA, None),
    "str-unicode-key": ("text: é 漢 😀", {"key": "ns:ключ/…~😀"} | METADATA, None),
    "str-zstd": ("a text that is long enough to be compressed. " * 100, METADATA, None),
    "msgpack": ({"answer": 42, "choices": [{"text": "yes", "logprob": -0.5}]}, {}, None),
    "msgpack-everything": (EVERYTHING, {}, None),
    "msgpack-zstd": ({"rows": [{"id": n, "text": f"row {n}"} for n in range(200)]}, METADATA, None),
    "ndarray-f4": (np.arange(384, dtype="<f4") / 256, METADATA, None),
    "ndarray-big-endian": (np.arange(6, dtype=">i2").reshape(2, 3), {}, None),
    "ndarray-empty": (np.zeros((0, 3), "<f8"), {}, None),
    "model-msgspec": (Answer("yes", Usage(3, 0.1), [0.5], {"id": [1]}), {}, Answer),
    "model-dataclass": (Chunk("text", [1.0, 2.0], {"page": 1}), {}, Chunk),
    "model-attrs": (Span(1, 2), {}, Span),
    "json-pydantic": (Message(role="user", content="é", meta={"n": 1}), {}, Message),
}


def written_today(name: str) -> bytes:
    value, fields, _ = ENTRIES[name]
    payload, codec_name = codec.encode(value)
    metadata = Metadata(**{"key": f"golden:{name}", "created_at": 1.7e9} | fields, codec=codec_name)
    return envelope.encode(Entry(payload, metadata))


def file_of(name: str) -> Path:
    return FILES / f"{name}.v{envelope.VERSION}.bin"


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_of_an_earlier_release_is_read(name: str):
    value, fields, type = ENTRIES[name]
    entry = envelope.decode(file_of(name).read_bytes(), fields.get("key", f"golden:{name}"))
    known = {field: getattr(entry.metadata, field) for field in fields}
    assert canonical(known) == canonical(fields)
    assert canonical(codec.decode(entry.payload, entry.metadata.codec, type)) == canonical(value)


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_is_written_as_earlier_releases_wrote_it(name: str):
    golden, today = file_of(name).read_bytes(), written_today(name)
    old, new = envelope.decode(golden), envelope.decode(today)
    assert new.payload == old.payload
    if old.metadata.encoding == "zstd":  # another release of zstd may find another frame for the same payload
        assert new.metadata.encoding == "zstd"
    else:
        assert today == golden


def test_every_codec_and_encoding_has_a_file():
    metadata = [envelope.decode(file_of(name).read_bytes()).metadata for name in ENTRIES]
    assert {one.codec.partition(";")[0] for one in metadata} == {"bytes", "str", "msgpack", "ndarray", "model", "json"}
    assert {one.encoding for one in metadata} == {"", "zstd"}


def test_every_file_is_of_an_entry():
    assert {path.name for path in FILES.glob("*.bin")} == {file_of(name).name for name in ENTRIES}


@pytest.mark.parametrize("name", ENTRIES)
def test_a_file_of_a_later_version_is_left_alone(name: str):
    data = bytearray(file_of(name).read_bytes())
    data[4] += 1
    with pytest.raises(UnknownFormat):
        envelope.decode(bytes(data))


def write() -> None:
    """Write the files that are not there yet."""
    FILES.mkdir(exist_ok=True)
    for name in ENTRIES:
        if not file_of(name).exists():
            file_of(name).write_bytes(written_today(name))
            sys.stdout.write(f"wrote {file_of(name).name}\n")


if __name__ == "__main__":
    write()
