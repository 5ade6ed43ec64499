"""100,000 damaged envelopes: none decodes to another value, none raises anything but CorruptEntry, none costs memory.

TIERCACHE_TEST_SCALE=10 makes it a million. A failure names the kind and the number of its mutant; each is made
from those two alone, so `damaged("flipped bits", 123)` is the same one everywhere.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.properties import raw
from tests.properties.scale import SCALE
from tests.properties.values import MODELS, SAMPLES
from tiercache import codec, envelope
from tiercache.entry import Entry, Metadata
from tiercache.errors import CorruptEntry

EACH = 10_000 * SCALE
MAX_PAYLOAD = 2**20
KEYS = [f"ns:key-{index}" for index in range(len(SAMPLES))]


def _entry(key: str, value: Any) -> Entry:
    payload, name = codec.encode(value)
    metadata = Metadata(
        key=key,
        created_at=1.7e9,
        expires_at=1.8e9,
        stale_until=1.9e9,
        as_of=1.6e9,
        codec=name,
        tags=("doc:7",),
        attributes={"model": "m", "price": 0.25, "tokens": 7, "ok": True},
    )
    return Entry(payload, metadata)


ENTRIES = [_entry(key, value) for key, value in zip(KEYS, SAMPLES, strict=True)]
ENVELOPES = [envelope.encode(entry) for entry in ENTRIES]
CODECS = sorted(
    {entry.metadata.codec for entry in ENTRIES} | {"ndarray;<U1;2", "ndarray;|b1;", "msgpack;", "", "pickle"}
)


# Damage that the tag must reveal


def flipped_bits(rng: random.Random, data: bytes) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def truncated(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] if rng.random() < 0.7 else data[at:]


def inserted_or_cut_out(rng: random.Random, data: bytes) -> bytes:
    at, size = rng.randrange(len(data)), rng.choice((1, 2, 8, 100))
    if rng.random() < 0.4:
        return data[:at] + data[at + size :]
    piece = rng.choice((rng.randbytes(size), bytes(size), data[at : at + size]))
    return data[:at] + piece + data[at:]


def spliced(rng: random.Random, data: bytes) -> bytes:
    other = rng.choice(ENVELOPES)
    at = rng.randrange(len(data))
    return data[:at] + other[rng.choice((at, rng.randrange(len(other)))) :]


def other_lengths(rng: random.Random, data: bytes) -> bytes:
    header_size, stored_size = struct.unpack_from(">IQ", data, 8)
    moved = rng.choice((1, -1, 4, rng.randrange(-50, 50)))
    sizes = rng.choice(
        (
            (stored_size & 0xFFFFFFFF, header_size),
            (max(0, header_size + moved), max(0, stored_size - moved)),
            (header_size, rng.getrandbits(64)),
            (rng.getrandbits(32), stored_size),
        )
    )
    return data[:8] + struct.pack(">IQ", *sizes) + data[20:]


# Damage whose tag is made to fit: what comes after it is reached


def damaged_header(rng: random.Random, data: bytes) -> bytes:
    header, stored = raw.parts(data)
    return raw.envelope(rng.choice((flipped_bits, inserted_or_cut_out))(rng, header), stored)


_JUNK: list[Callable[[random.Random], Any]] = [
    lambda rng: None,
    lambda rng: rng.choice((True, False, 0, -1, 2**63, 2**64 - 1, -(2**63))),
    lambda rng: rng.choice((float("nan"), float("inf"), -float("inf"), 1e308, -0.0)),
    lambda rng: rng.choice(("", "zstd", "ns:key", "x" * 5000, *CODECS)),
    lambda rng: rng.randbytes(rng.choice((0, 1, 16))),
    lambda rng: [_junk(rng) for _ in range(rng.randrange(3))],
    lambda rng: {rng.choice(("a", "k", "")): _junk(rng)},
    lambda rng: msgspec.msgpack.Ext(rng.randrange(-128, 128), rng.randbytes(rng.randrange(20))),
]


def _junk(rng: random.Random) -> Any:
    return rng.choice(_JUNK)(rng)


def other_header_fields(rng: random.Random, data: bytes) -> bytes:
    header, stored = raw.parts(data)
    fields = msgspec.msgpack.decode(header)
    for name in rng.sample([*fields, "i", "z", "new"], rng.choice((1, 1, 2))):
        fields[name] = _junk(rng)
    return raw.envelope(msgspec.msgpack.encode(fields), stored)


def damaged_payload(rng: random.Random, data: bytes) -> bytes:
    """The stored payload damaged, and its size in the header made to fit when it is not compressed."""
    header, stored = raw.parts(data)
    stored = rng.choice((flipped_bits, flipped_bits, inserted_or_cut_out, truncated))(rng, stored or b"\0")
    fields = msgspec.msgpack.decode(header)
    if "z" not in fields:
        fields["n"] = len(stored)
    return raw.envelope(msgspec.msgpack.encode(fields), stored)


def damaged_value(rng: random.Random, data: bytes) -> bytes:
    """An intact envelope around a damaged payload, perhaps under the name of another codec."""
    entry = ENTRIES[ENVELOPES.index(data)]
    payload = entry.payload or b"\0"
    for _ in range(rng.choice((0, 1, 1, 3))):
        payload = rng.choice((flipped_bits, inserted_or_cut_out))(rng, payload) or b"\0"
    name = rng.choice((entry.metadata.codec, rng.choice(CODECS), flipped_text(rng, entry.metadata.codec)))
    return envelope.encode(Entry(payload, entry.with_metadata(codec=name).metadata))


def flipped_text(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text))
    return text[:at] + rng.choice("0123456789;,<>|fUSMOVT[]( -\0é") + text[at + rng.randrange(2) :]


def hostile_msgpack(rng: random.Random, data: bytes) -> bytes:
    """An intact envelope around msgpack that our encoder would never write."""
    name = rng.choice(("msgpack", "msgpack", "model"))
    entry = ENTRIES[ENVELOPES.index(data)]
    payload = _msgpack(rng, rng.choice((1, 3, 6)))
    return envelope.encode(Entry(payload, entry.with_metadata(codec=name).metadata))


def _msgpack(rng: random.Random, depth: int) -> bytes:
    kind = rng.randrange(10) if depth else rng.randrange(4)
    if kind == 0:
        return bytes([rng.randrange(256)])  # often the start of something that does not follow
    if kind < 4:
        return msgspec.msgpack.encode(
            rng.choice((None, 5, -5, 0.5, "", "text", b"", b"\x01" * 16, 2**63, "1e5", "<f4"))
        )
    count = rng.randrange(4)
    inner = b"".join(_msgpack(rng, depth - 1) for _ in range(count))
    if kind == 4:
        return bytes([0x90 + count]) + inner
    if kind == 5:
        return bytes([0x80 + count // 2]) + inner
    if kind == 6:
        inner = rng.choice((b"text", b"2024-02-30", b"12:00", b"\xff", b"-ff", b"1e5", bytes(16), b""))
    if kind == 7:
        inner = msgspec.msgpack.encode([flipped_text(rng, "ndarray;<f4;2"), bytes(8)])
    code = rng.choice((*range(1, 15), rng.randrange(256)))
    return b"\xc7" + bytes([len(inner) & 0xFF, code]) + inner


UNTAGGED = [flipped_bits, truncated, inserted_or_cut_out, spliced, other_lengths]
TAGGED = [damaged_header, other_header_fields, damaged_payload, damaged_value, hostile_msgpack]
MUTATORS = {mutate.__name__.replace("_", " "): mutate for mutate in UNTAGGED + TAGGED}
_FITTING = {mutate.__name__.replace("_", " ") for mutate in TAGGED}


def damaged(kind: str, number: int) -> tuple[int, bytes]:
    """The number-th mutant of a kind, and which of the entries it was made of."""
    rng = random.Random(f"{kind} {number}")
    index = number % len(ENVELOPES)
    return index, MUTATORS[kind](rng, ENVELOPES[index])


def read(index: int, data: bytes) -> str:
    """Decode a mutant, its value too; return what came of it."""
    key: str | None = KEYS[index]
    try:
        entry = envelope.decode(data, key, max_payload=MAX_PAYLOAD)
    except CorruptEntry:
        return "refused"
    outcome = "intact" if data == ENVELOPES[index] else "another"
    for kind in (None, str, MODELS[index % len(MODELS)]):
        try:
            codec.decode(entry.payload, entry.metadata.codec, kind)
        except CorruptEntry:
            continue
        if kind is None:
            outcome += " and its value"
    return outcome


@pytest.mark.parametrize("kind", MUTATORS)
def test_a_damaged_envelope_is_corrupt_or_what_it_was(kind: str):
    outcomes: dict[str, int] = {}
    for number in range(EACH):
        index, data = damaged(kind, number)
        try:
            outcome = read(index, data)
        except Exception as error:
            raise AssertionError(f"mutant {kind!r} {number} raised {error!r}") from error
        if kind not in _FITTING:
            assert not outcome.startswith("another"), f"mutant {kind!r} {number} decoded to another entry"
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    # A fuzz that never gets anywhere proves nothing.
    assert outcomes.get("refused", 0) + outcomes.get("another", 0) > EACH // 100
    if kind in _FITTING:
        assert outcomes["another and its value"] > EACH // 100


@pytest.mark.parametrize("kind", MUTATORS)
def test_a_damaged_envelope_costs_no_memory(kind: str):
    mutants = [damaged(kind, number) for number in range(0, 10_000, 25)]
    for index, data in mutants[:30]:  # caches that fill once
        read(index, data)
    with raw.peak() as memory:
        for index, data in mutants:
            read(index, data)
    assert memory.bytes < 4 * MAX_PAYLOAD


def test_the_originals_are_intact():
    assert {read(index, data) for index, data in enumerate(ENVELOPES)} == {"intact and its value"}
    assert sum(len(ENTRIES[index].payload) > len(data) for index, data in enumerate(ENVELOPES)) >= 3
