"""100,000 damaged segments, tails and names: no lookup finds another value, raises anything of its own or costs memory.

Each mutant is looked into as a store's object is: name, tail, index, range, envelope. TIERCACHE_TEST_SCALE=10 makes it
a million. A failure names the kind and the number of its mutant; each is made from those two alone.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from typing import NamedTuple

import pytest
from blake3 import blake3

from tests.packed import segments as raw
from tests.packed.segments import record, tail_of, tombstone
from tests.properties.scale import SCALE
from tests.properties.test_fuzz import flipped_bits, inserted_or_cut_out, truncated
from tiercache import envelope
from tiercache.errors import CorruptEntry
from tiercache.packed import naming, segment
from tiercache.packed.naming import SegmentName
from tiercache.packed.segment import Located

EACH = 10_000 * SCALE
KEYS = [f"ns:key-{number}" for number in range(12)]
FOOTER, ENTRY = segment.FOOTER_BYTES, segment.ENTRY_BYTES
FIRST = "01HF7YAT00000000000000000"


class Object(NamedTuple):
    """An object as a store shows it."""

    name: str
    body: bytes


def _object(number: int) -> Object:
    """A segment of some of the keys; keys 0 to 3 are in all, each time with the same value."""
    rng = random.Random(number)
    chosen = KEYS[:4] + rng.sample(KEYS[4:], 2 + number % 4)
    records = [record(key, value_of(key), stamp=rng.getrandbits(40), gone_at=rng.getrandbits(32)) for key in chosen]
    records.append(tombstone(f"ns:deleted-{number}"))
    built = segment.build(records)
    name = SegmentName("30d", f"{FIRST}{number}", len(records), built.tail)
    return Object(naming.object_name("p/", name), built.body)


def value_of(key: str) -> bytes:
    return f"the value of {key} ".encode() * (int(key.rpartition("-")[2]) + 1)


OBJECTS = [_object(number) for number in range(8)]


def parts(one: Object) -> tuple[SegmentName, bytes, bytes, bytes]:
    """The name, what stands before the index, the index, the footer."""
    name = naming.parse("p/", one.name)
    assert name is not None
    at = len(one.body) - name.tail
    return name, one.body[:at], one.body[at:-FOOTER], one.body[-FOOTER:]


def renamed(one: Object, **fields: int) -> str:
    return naming.object_name("p/", parts(one)[0]._replace(**fields))


# Damage that checksums must reveal


def damaged_anywhere(rng: random.Random, one: Object) -> Object:
    damage = rng.choice((flipped_bits, truncated, inserted_or_cut_out))
    return one._replace(body=damage(rng, one.body))


def damaged_tail(rng: random.Random, one: Object) -> Object:
    _, before, index, footer = parts(one)
    damage = rng.choice((flipped_bits, flipped_bits, truncated, inserted_or_cut_out))
    if rng.random() < 0.5:
        return one._replace(body=before + damage(rng, index) + footer)
    return one._replace(body=before + index + damage(rng, footer))


def spliced(rng: random.Random, one: Object) -> Object:
    other = rng.choice(OBJECTS).body
    at = rng.randrange(len(one.body))
    return one._replace(body=one.body[:at] + other[rng.choice((at, rng.randrange(len(other)))) :])


def swapped_parts(rng: random.Random, one: Object) -> Object:
    """Records, index and footer of any of two segments, under the name of either."""
    other = rng.choice(OBJECTS)
    pairs = list(zip(parts(one)[1:], parts(other)[1:], strict=True))
    return Object(rng.choice((one, other)).name, b"".join(rng.choice(pair) for pair in pairs))


def other_names(rng: random.Random, one: Object) -> Object:
    name = parts(one)[0]
    moved = rng.choice((1, -1, ENTRY, -ENTRY, rng.randrange(1, 10_000)))
    made = [
        lambda: renamed(one, count=max(1, name.count + rng.choice((1, -1, moved)))),
        lambda: renamed(one, tail=max(1, name.tail + moved)),
        lambda: renamed(one, count=max(2, name.count - 1) - 1 or 1, tail=max(1, name.tail - ENTRY)),
        lambda: renamed(one, count=rng.randrange(1, 10**10), tail=rng.randrange(1, 10**10)),
        lambda: rng.choice(OBJECTS).name,
        lambda: flipped_bits(rng, one.name.encode()).decode("latin-1"),
    ]
    return one._replace(name=rng.choice(made)())


# Damage whose checksums are made to fit: what comes after them is reached


def retagged(rng: random.Random, one: Object) -> Object:
    """Any damage to index and fields, with a tag that fits."""
    _, before, index, footer = parts(one)
    index, fields = rng.choice(
        (
            (flipped_bits(rng, index), footer[:52]),
            (index, flipped_bits(rng, footer[:52])),
            (index, footer[:32] + rng.randbytes(20)),
            (index, footer[:32] + struct.pack(">QQI", rng.randrange(10**4), rng.randrange(10**4), len(index) // ENTRY)),
        )
    )
    return one._replace(body=before + index + fields + blake3(index + fields).digest() + footer[-12:])


def wrong_places(rng: random.Random, one: Object) -> Object:
    """Entries that point to other records or into the middle of one, with a name and a tag that fit."""
    _, before, index, _ = parts(one)
    entries = list(segment.located(index))
    for _ in range(rng.choice((1, 1, 3))):
        at, other = rng.randrange(len(entries)), rng.choice(entries)
        length = rng.choice((other.length, rng.randrange(600)))
        offset = rng.choice((other.offset, 8 * rng.randrange(100))) if length else 0
        entries[at] = entries[at]._replace(offset=offset, length=length, stamp=rng.getrandbits(48))
    return _with(one, before, entries)


def other_entries(rng: random.Random, one: Object) -> Object:
    """Entries left out, doubled, in another order or those of another segment, with a name and a tag that fit."""
    _, before, index, _ = parts(one)
    entries = list(segment.located(index))
    others = list(segment.located(parts(rng.choice(OBJECTS))[2]))
    made: list[Callable[[], list[Located]]] = [
        lambda: rng.sample(entries, rng.randrange(1, len(entries) + 1)),
        lambda: sorted(rng.sample(entries, rng.randrange(1, len(entries) + 1))),
        lambda: sorted(rng.choices(entries, k=len(entries))),
        lambda: sorted({entry.digest: entry for entry in entries + others}.values()),
        lambda: others,
    ]
    return _with(one, before, rng.choice(made)())


def _with(one: Object, before: bytes, entries: list[Located]) -> Object:
    tail = segment.read_tail(one.body[-parts(one)[0].tail :], size=len(one.body), count=parts(one)[0].count)
    data = raw.tail(b"".join(map(segment.entry_of, entries)), keys_at=tail.keys_at, keys=before[tail.keys_at :])
    return Object(renamed(one, count=len(entries), tail=len(data)), before + data)


def other_keys(rng: random.Random, one: Object) -> Object:
    """Another keys block, with checksums that fit."""
    name, before, index, _ = parts(one)
    tail = segment.read_tail(one.body[-name.tail :], size=len(one.body), count=name.count)
    block = before[tail.keys_at :]
    names = segment.read_keys(block, tail)
    rng.shuffle(names)
    keys = rng.choice(
        (
            flipped_bits(rng, block),
            truncated(rng, block),
            inserted_or_cut_out(rng, block),
            raw.packed(names),
            raw.packed(names[1:]),
            raw.packed(dict.fromkeys(names)),
            raw.FRAME.compress(flipped_bits(rng, raw.plain(block))),
        )
    )
    return one._replace(body=before[: tail.keys_at] + keys + raw.tail(index, keys_at=tail.keys_at, keys=keys))


def other_records(rng: random.Random, one: Object) -> Object:
    """Damage among the records, beneath a tail that is right."""
    _, before, index, footer = parts(one)
    other = parts(rng.choice(OBJECTS))[1]
    at = 8 * rng.randrange(2, len(before) // 8)
    size = 8 * rng.randrange(1, 40)
    start = rng.choice((at, 8 * rng.randrange(2, 60)))
    piece = rng.choice((other, before))[start : start + size]
    made = before[:at] + piece + before[at + len(piece) :]
    return one._replace(body=made[: len(before)].ljust(len(before), b"\0") + index + footer)


REVEALED = [damaged_anywhere, damaged_tail, spliced, swapped_parts, other_names]
FITTING = [retagged, wrong_places, other_entries, other_keys, other_records]
MUTATORS = {mutate.__name__.replace("_", " "): mutate for mutate in REVEALED + FITTING}


def damaged(kind: str, number: int) -> Object:
    """The number-th mutant of a kind."""
    return MUTATORS[kind](random.Random(f"{kind} {number}"), OBJECTS[number % len(OBJECTS)])


def read(one: Object) -> tuple[str, int]:
    """Look all keys up in an object, and list it; returns how far it came, and how many values were found."""
    name = naming.parse("p/", one.name)
    if name is None:
        return "not a segment", 0
    data = one.body[max(0, len(one.body) - name.tail) :]
    try:
        tail = segment.read_tail(data, size=len(one.body), count=name.count)
    except CorruptEntry:
        return "tail refused", 0
    values = 0
    for key in KEYS:
        found = segment.find(tail.index, segment.digest_of(key))
        if found is None or not found.length:
            continue
        try:
            value = envelope.decode(one.body[found.offset : found.offset + found.length], key).payload
        except CorruptEntry:
            continue
        assert value == value_of(key), f"another value of {key}"
        values += 1
    try:
        names = segment.read_keys(one.body[tail.keys_at : tail.keys_at + tail.keys_bytes], tail)
    except CorruptEntry:
        return "keys refused", values
    assert all(key in KEYS for key in names if key)
    return "listed", values


@pytest.mark.parametrize("kind", MUTATORS)
def test_a_damaged_segment_gives_a_miss_or_the_value_of_the_key(kind: str):
    outcomes = {"not a segment": 0, "tail refused": 0, "keys refused": 0, "listed": 0}
    values = 0
    for number in range(EACH):
        try:
            outcome, found = read(damaged(kind, number))
        except Exception as error:
            raise AssertionError(f"mutant {kind!r} {number} raised {error!r}") from error
        outcomes[outcome] += 1
        values += found
    # A fuzz that never gets anywhere proves nothing.
    if MUTATORS[kind] in FITTING:
        assert outcomes["keys refused"] + outcomes["listed"] > EACH // 100
        assert values > EACH // 10
    else:
        assert outcomes["not a segment"] + outcomes["tail refused"] + outcomes["keys refused"] > EACH // 100


@pytest.mark.parametrize("kind", MUTATORS)
def test_a_damaged_segment_costs_no_memory(kind: str):
    mutants = [damaged(kind, number) for number in range(0, 10_000, 50)]
    for one in mutants[:20]:  # caches that fill once
        read(one)
    with raw.peak() as memory:
        for one in mutants:
            read(one)
    assert memory.bytes < 2**20


def test_the_originals_are_intact():
    for number, one in enumerate(OBJECTS):
        assert read(one) == ("listed", 6 + number % 4)


def test_a_tail_is_the_tail_of_its_own_segment_alone():
    """Of two objects with as many entries and bytes, each other's tails never lead to another key's value."""
    first, second = (segment.build([record(key, b"v" + key[-1:].encode()) for key in keys]) for keys in ("ab", "cd"))
    assert len(first.body) == len(second.body)
    swapped = first.body[: -first.tail] + second.body[-second.tail :]
    tail = segment.read_tail(swapped[-first.tail :], size=len(swapped), count=2)
    assert tail.index == tail_of(second).index
    for key in "abcd":
        assert raw.looked_up(swapped, first.tail, 2, key) is None
