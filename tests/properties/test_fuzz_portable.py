"""10,000 damaged portable files: no import finds another value, raises anything of its own or costs memory.

TIERCACHE_TEST_SCALE=10 makes it 100,000. A failure names the kind and the number of its mutant; each is made from those
two alone. In half of the kinds the tags are made to fit, so that what comes after them is reached.
"""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable

import pytest
from blake3 import blake3

from tests.packed.objects import entry
from tests.properties import raw
from tests.properties.scale import SCALE
from tests.properties.test_fuzz import flipped_bits, inserted_or_cut_out, truncated
from tiercache import envelope
from tiercache.errors import ConfigurationError, CorruptEntry
from tiercache.transfer import portable
from tiercache.transfer.files import opened
from tiercache.transfer.portable import About, AboutFile, FileWriter
from tiercache.transfer.reading import FileReader

EACH = 1250 * SCALE
KEYS = [f"ns:key-{number}" for number in range(12)]
Parts = list[bytes]


def value_of(key: str) -> bytes:
    return f"the value of {key} ".encode() * (int(key.rpartition("-")[2]) + 1)


def written(number: int) -> bytes:
    """A file of three blocks."""
    file = io.BytesIO()
    writer = FileWriter(file, AboutFile(1_700_000_000.0 + number, "fuzz"))
    for at, key in enumerate(KEYS):
        about = About("STANDARD_IA") if at % 3 else About()
        writer.add(key, envelope.encode(entry(key, value_of(key), now=1_700_000_000.0)), about)
        if at % 4 == 3:
            writer._block()
    writer.end()
    return file.getvalue()


FILES = [written(number) for number in range(4)]
TAG = portable.TAG


def parts_of(data: bytes) -> Parts:
    """Start, blocks and end, without their tags."""
    at, parts = 0, Parts()
    size = portable.START.unpack_from(data)[2] + portable.START.size
    while True:
        parts.append(data[at : at + size])
        at += size + TAG
        if at >= len(data):
            return parts
        block = data.startswith(b"BLCK", at)
        size = portable.BLOCK.size + portable.BLOCK.unpack_from(data, at)[5] if block else portable.END.size


def joined(parts: Parts) -> bytes:
    """The file of these parts, with tags that fit."""
    tag, made = bytes(TAG), []
    for part in parts:
        tag = blake3(tag + part).digest()
        made += [part, tag]
    return b"".join(made)


def damaged_anywhere(rng: random.Random, data: bytes) -> bytes:
    return rng.choice((flipped_bits, truncated, inserted_or_cut_out))(rng, data)


def spliced(rng: random.Random, data: bytes) -> bytes:
    other, at = rng.choice(FILES), rng.randrange(len(data))
    return data[:at] + other[rng.choice((at, rng.randrange(len(other)))) :]


def other_parts(rng: random.Random, data: bytes) -> bytes:
    """Parts in another order, doubled, left out: with the tags that they had."""
    whole, at = [], 0
    for part in parts_of(data):
        whole.append(data[at : at + len(part) + TAG])
        at += len(part) + TAG
    rng.shuffle(whole)
    return b"".join(whole[: rng.randrange(1, len(whole) + 1)] + rng.choices(whole, k=rng.randrange(2)))


def other_lengths(rng: random.Random, data: bytes) -> bytes:
    """A start that claims other lengths, in a part whose tag may fit."""
    parts = parts_of(data)
    at = rng.randrange(len(parts))
    layout = (portable.START, *[portable.BLOCK] * (len(parts) - 2), portable.END)[at]
    fields = list(layout.unpack_from(parts[at]))
    which = rng.randrange(1, len(fields))
    fields[which] = rng.choice((0, 1, 255, fields[which] + 1, rng.getrandbits(31)))
    try:
        parts[at] = layout.pack(*fields) + parts[at][layout.size :]
    except struct.error:
        return data[:-1]
    return joined(parts)


def damaged_part(rng: random.Random, data: bytes) -> bytes:
    """Any damage to a part, with tags that fit."""
    parts = parts_of(data)
    at = rng.randrange(len(parts))
    parts[at] = rng.choice((flipped_bits, truncated, inserted_or_cut_out))(rng, parts[at])
    return joined(parts)


def damaged_records(rng: random.Random, data: bytes) -> bytes:
    """Damage among the records of a block, whose lengths and tags fit."""
    import zstandard

    parts = parts_of(data)
    at = rng.randrange(1, len(parts) - 1)
    head, stored = parts[at][: portable.BLOCK.size], parts[at][portable.BLOCK.size :]
    plain = zstandard.ZstdDecompressor().decompress(stored) if head[12] else stored
    plain = rng.choice((flipped_bits, flipped_bits, truncated, inserted_or_cut_out))(rng, plain)
    count = portable.BLOCK.unpack(head)[2]
    made = portable.BLOCK.pack(b"BLCK", at - 1, count, portable.PLAIN, len(plain), len(plain)) + plain
    return joined([*parts[:at], made, *parts[at + 1 :]])


def swapped_envelopes(rng: random.Random, data: bytes) -> bytes:
    """Envelopes under the keys of others."""
    file = io.BytesIO()
    writer = FileWriter(file, AboutFile())
    for key, other in zip(KEYS, rng.sample(KEYS, len(KEYS)), strict=True):
        made = envelope.encode(entry(other, value_of(other), now=1_700_000_000.0))
        writer.add(rng.choice((key, other)), rng.choice((made, flipped_bits(rng, made))))
    writer.end()
    return file.getvalue()


def other_flags(rng: random.Random, data: bytes) -> bytes:
    """Envelopes that claim to be sealed, with odd things said beside them."""
    file = io.BytesIO()
    writer = FileWriter(file, AboutFile())
    for key in KEYS:
        made = bytearray(envelope.encode(entry(key, value_of(key), now=1_700_000_000.0)))
        made[5] = rng.choice((0, 1, 3, 255))
        made[7] = rng.choice((0, 2, 200))
        writer.add(key, bytes(made[: rng.choice((len(made), 0, 5, 60))]), About("X", float("nan"), 1e300, -1.0))
    writer.end()
    return file.getvalue()


REVEALED = [damaged_anywhere, spliced, other_parts]
FITTING = [other_lengths, damaged_part, damaged_records, swapped_envelopes, other_flags]
MUTATORS: dict[str, Callable[[random.Random, bytes], bytes]] = {
    mutate.__name__.replace("_", " "): mutate for mutate in REVEALED + FITTING
}


def damaged(kind: str, number: int) -> bytes:
    """The number-th mutant of a kind."""
    return MUTATORS[kind](random.Random(f"{kind} {number}"), FILES[number % len(FILES)])


class _Store:
    """A destination that carries what is sealed."""

    def __init__(self) -> None:
        from tiercache.transfer.opaque import Carrying

        self.envelope = Carrying()


def read(data: bytes) -> tuple[str, int]:
    """Read a file as an import does; returns how far it came, and how many values were found."""
    values, store = 0, _Store()
    try:
        reader = FileReader(io.BytesIO(data))
        for block in reader.blocks():
            for record in block.records:
                try:
                    found = opened(record, store)  # type: ignore[arg-type]
                except CorruptEntry:
                    continue
                if found.metadata.codec == "sealed":
                    assert found.payload == b""
                    continue
                assert found.payload == value_of(record.key), f"another value of {record.key}"
                values += 1
    except ConfigurationError:
        return "no file", values
    except CorruptEntry:
        return "refused", values
    return "whole", values


@pytest.mark.parametrize("kind", MUTATORS)
def test_a_damaged_file_gives_an_error_or_the_values_of_its_keys(kind: str) -> None:
    outcomes = {"no file": 0, "refused": 0, "whole": 0}
    values = 0
    for number in range(EACH):
        data = damaged(kind, number)
        try:
            outcome, found = read(data)
        except Exception as error:
            raise AssertionError(f"mutant {kind!r} {number} raised {error!r}") from error
        if MUTATORS[kind] in REVEALED and outcome == "whole":
            assert data in FILES, f"mutant {kind!r} {number} was taken for whole"
        outcomes[outcome] += 1
        values += found
    # A fuzz that never gets anywhere proves nothing.
    assert outcomes["refused"] + outcomes["whole"] > EACH // 10
    assert values > EACH // 10


@pytest.mark.parametrize("kind", MUTATORS)
def test_a_damaged_file_costs_no_memory(kind: str) -> None:
    mutants = [damaged(kind, number) for number in range(0, 1250, 25)]
    for one in mutants[:20]:  # caches that fill once
        read(one)
    with raw.peak() as memory:
        for one in mutants:
            read(one)
    assert memory.bytes < 2 * 2**20


def test_the_originals_are_whole() -> None:
    for data in FILES:
        assert read(data) == ("whole", len(KEYS))
        assert joined(parts_of(data)) == data
