"""Segments: what is written is found again; what is damaged, in whichever bit, is a miss and never another value."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
import zstandard
from blake3 import blake3

from tests.packed import segments as raw
from tests.packed.segments import entry, looked_up, record, tail_of, tombstone
from tiercache import envelope
from tiercache.envelope import Envelope
from tiercache.errors import CorruptEntry, UnknownFormat
from tiercache.packed import segment
from tiercache.packed.segment import Built, Located, Record, Tail

VALUES = {f"ns:key-{number}": f"value {number}".encode() for number in range(5)}
RECORDS = [record(key, value, stamp=10 + n) for n, (key, value) in enumerate(VALUES.items())]
RECORDS.append(tombstone("ns:deleted", stamp=99))
BUILT = segment.build(RECORDS)
KEYS = [*VALUES, "ns:deleted", "ns:unknown"]


def keys_block(built: Built, tail: Tail) -> bytes:
    return built.body[tail.keys_at : tail.keys_at + tail.keys_bytes]


# What is written is found again


def test_every_record_is_found_by_its_key():
    for key, value in VALUES.items():
        assert looked_up(BUILT.body, BUILT.tail, len(RECORDS), key) == value


def test_a_tombstone_is_found_as_one():
    found = segment.find(BUILT.index, segment.digest_of("ns:deleted"))
    assert found == Located(segment.digest_of("ns:deleted"), 99, 0, 0, 0)


@pytest.mark.parametrize("digest", [bytes(16), b"\xff" * 16, segment.digest_of("ns:unknown")])
def test_an_unknown_digest_is_not_found(digest: bytes):
    assert segment.find(BUILT.index, digest) is None


def test_nothing_is_found_in_an_empty_index():
    assert segment.find(b"", bytes(16)) is None
    assert list(segment.located(b"")) == []


def test_a_segment_of_tombstones_alone_is_one():
    built = segment.build([tombstone("a"), tombstone("b")])
    tail = tail_of(built)
    assert segment.read_keys(keys_block(built, tail), tail) == ["", ""]
    assert [one.length for one in segment.located(tail.index)] == [0, 0]


def test_the_index_is_in_the_order_of_digests_and_names_what_the_records_said():
    expected = sorted(RECORDS)
    found = list(segment.located(BUILT.index))
    assert [(one.digest, one.stamp, one.gone_at) for one in found] == [tuple(one[:3]) for one in expected]
    assert b"".join(map(segment.entry_of, found)) == BUILT.index
    assert len(BUILT.index) == len(RECORDS) * segment.ENTRY_BYTES


def test_records_lie_in_the_order_in_which_they_came_each_at_a_multiple_of_eight():
    places = [segment.find(BUILT.index, one.digest) for one in RECORDS if one.data]
    offsets = [place.offset for place in places if place]
    assert offsets == sorted(offsets)
    assert offsets[0] == 16
    assert all(offset % 8 == 0 for offset in offsets)


def test_the_order_of_the_records_decides_their_places_alone():
    turned = segment.build(RECORDS[::-1])
    keep = [(one.digest, one.stamp, one.gone_at, one.length) for one in segment.located(BUILT.index)]
    assert [(one.digest, one.stamp, one.gone_at, one.length) for one in segment.located(turned.index)] == keep
    assert tail_of(turned).keys_hash == tail_of(BUILT).keys_hash


def test_keys_are_in_the_order_of_the_index():
    tail = tail_of(BUILT)
    assert segment.read_keys(keys_block(BUILT, tail), tail) == [one.key for one in sorted(RECORDS)]


def test_the_tail_is_the_end_of_the_body_and_begins_with_the_index():
    assert BUILT.tail == len(BUILT.index) + segment.FOOTER_BYTES
    assert BUILT.body[-BUILT.tail :].startswith(BUILT.index)
    assert BUILT.body[-8:] == b"TIERTAIL"


def test_the_largest_numbers_fit():
    built = segment.build([Record(bytes(16), 2**48 - 1, 2**32 - 1, b"data", "key")])
    assert next(segment.located(built.index)) == Located(bytes(16), 2**48 - 1, 2**32 - 1, 16, 4)


def test_a_digest_is_half_a_blake3_of_the_key():
    assert segment.digest_of("é") == blake3("é".encode()).digest()[:16]


@pytest.mark.parametrize(
    ("moment", "second"),
    [
        (None, 0),
        (1.7e9, 1_700_000_000),
        (1.7e9 + 0.001, 1_700_000_001),
        (2**32 - 1, 2**32 - 1),
        (2**32 - 0.5, 0),
        (1e18, 0),
        (float("inf"), 0),
        (0.0, 1),
        (-5.5, 1),
    ],
)
def test_a_second_is_rounded_up_and_none_ever_becomes_never_but_the_far_future(moment: float | None, second: int):
    assert segment.gone_second(moment) == second


# What cannot be written


@pytest.mark.parametrize(
    "records",
    [
        [],
        [record("a", b"1"), record("a", b"2")],
        [record("a", b"1"), tombstone("a")],
        [Record(bytes(15), 1, 0, b"data", "key")],
        [Record(bytes(17), 1, 0, b"data", "key")],
        [Record(bytes(16), 1, 0, b"", "key")],
        [Record(bytes(16), 1, 0, b"data", "")],
        [Record(bytes(16), 2**48, 0, b"data", "key")],
        [Record(bytes(16), -1, 0, b"data", "key")],
        [Record(bytes(16), 1, 2**32, b"data", "key")],
        [Record(bytes(16), 1, -1, b"data", "key")],
        [Record(bytes(16), 1, 0, b"data", "\ud800")],
    ],
)
def test_what_makes_no_segment_is_refused(records: list[Record]):
    with pytest.raises(ValueError):
        segment.build(records)


def test_a_segment_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(segment, "MOST_BYTES", len(BUILT.body))
    segment.build(RECORDS)
    monkeypatch.setattr(segment, "MOST_BYTES", len(BUILT.body) - 1)
    with pytest.raises(ValueError):
        segment.build(RECORDS)


def test_keys_that_are_too_large_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(segment, "MAX_KEYS_BYTES", 20)
    with pytest.raises(ValueError):
        segment.build(RECORDS)


# Damage


def test_a_segment_that_is_cut_short_anywhere_is_a_miss():
    for size in range(len(BUILT.body)):
        cut = BUILT.body[:size]
        for tail in {BUILT.tail, min(BUILT.tail, size)}:
            with pytest.raises(CorruptEntry):
                segment.read_tail(cut[-tail:] if tail else b"", size=size, count=len(RECORDS))


def test_a_record_that_is_cut_short_anywhere_is_a_miss():
    for located in segment.located(BUILT.index):
        for size in range(located.length):
            with pytest.raises(CorruptEntry):
                envelope.decode(BUILT.body[located.offset : located.offset + size])


@pytest.mark.parametrize(
    ("built", "opener"),
    [(BUILT, envelope.PLAIN), (segment.build(raw.SEALED_RECORDS), raw.SEALED)],
    ids=["plain", "sealed"],
)
def test_every_flipped_bit_is_a_miss_or_changes_nothing(built: Built, opener: Envelope):
    count = len(built.index) // segment.ENTRY_BYTES
    body = bytearray(built.body)
    values = {key: looked_up(built.body, built.tail, count, key, opener) for key in KEYS}
    present = [key for key, value in values.items() if value is not None]
    assert len(present) == count - 1
    missed = 0
    for bit in range(len(body) * 8):
        body[bit // 8] ^= 1 << bit % 8
        damaged = bytes(body)
        for key, value in values.items():
            found = looked_up(damaged, built.tail, count, key, opener)
            assert found in (None, value), f"bit {bit} made another value of {key}"
            missed += found is None and value is not None
        body[bit // 8] ^= 1 << bit % 8
    # Each bit of the tail costs all values, each bit of a record its own.
    records = sum(one.length for one in segment.located(built.index))
    assert missed == 8 * (built.tail * len(present) + records)


def test_every_flipped_bit_of_the_keys_is_seen():
    tail = tail_of(BUILT)
    block = bytearray(keys_block(BUILT, tail))
    for bit in range(len(block) * 8):
        block[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptEntry):
            segment.read_keys(bytes(block), tail)
        block[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("count", [-1, 0, len(RECORDS) - 1, len(RECORDS) + 1, 2**32 + len(RECORDS), 10**10])
def test_another_count_than_the_name_says_is_corrupt(count: int):
    with pytest.raises(CorruptEntry):
        segment.read_tail(BUILT.body[-BUILT.tail :], size=len(BUILT.body), count=count)


@pytest.mark.parametrize("more", [-8, -1, 1, 8, -len(BUILT.body), 2**64])
def test_another_size_than_the_object_has_is_corrupt(more: int):
    with pytest.raises(CorruptEntry):
        segment.read_tail(BUILT.body[-BUILT.tail :], size=len(BUILT.body) + more, count=len(RECORDS))


@pytest.mark.parametrize("more", [-34, -1, 1, 34])
def test_another_tail_than_the_name_says_is_corrupt(more: int):
    with pytest.raises(CorruptEntry):
        segment.read_tail(BUILT.body[-BUILT.tail - more :], size=len(BUILT.body), count=len(RECORDS))


def test_the_index_of_another_segment_is_corrupt():
    other = segment.build([record(key, b"other", stamp=50) for key in KEYS[: len(RECORDS)]])
    swapped = other.index + BUILT.body[-segment.FOOTER_BYTES :]
    with pytest.raises(CorruptEntry):
        segment.read_tail(swapped, size=len(BUILT.body), count=len(RECORDS))


@pytest.mark.parametrize("bits", [1, 2, 2**31])
def test_a_later_version_is_left_alone_whatever_else_it_has(bits: int):
    version = struct.pack(">I", segment.VERSION + bits)
    later = BUILT.body[-BUILT.tail : -12] + version + BUILT.body[-8:]
    with pytest.raises(UnknownFormat):
        segment.read_tail(later, size=len(BUILT.body), count=len(RECORDS))
    with pytest.raises(UnknownFormat):
        segment.read_tail(bytes(200) + version + BUILT.body[-8:], size=7, count=1)


def test_a_version_that_never_was_is_corrupt():
    none = BUILT.body[-BUILT.tail : -12] + bytes(4) + BUILT.body[-8:]
    with pytest.raises(CorruptEntry) as caught:
        segment.read_tail(none, size=len(BUILT.body), count=len(RECORDS))
    assert caught.type is CorruptEntry


# What has a checksum that fits, and is wrong all the same


def rewritten(change: Callable[[list[Located]], list[Located]]) -> None:
    """Read the tail of BUILT with another index, tagged as if it were right."""
    index = b"".join(map(segment.entry_of, change(list(segment.located(BUILT.index)))))
    data = raw.tail(index, keys_at=tail_of(BUILT).keys_at, keys=keys_block(BUILT, tail_of(BUILT)))
    segment.read_tail(data, size=len(BUILT.body), count=len(RECORDS))


def test_the_tail_made_by_hand_is_the_one_that_is_written():
    rewritten(lambda entries: entries)
    tail = tail_of(BUILT)
    assert raw.tail(BUILT.index, keys_at=tail.keys_at, keys=keys_block(BUILT, tail)) == BUILT.body[-BUILT.tail :]


def replaced(at: int, **fields: int) -> Callable[[list[Located]], list[Located]]:
    return lambda entries: [*entries[:at], entries[at]._replace(**fields), *entries[at + 1 :]]


A_RECORD = next(n for n, one in enumerate(segment.located(BUILT.index)) if one.length)
A_TOMBSTONE = next(n for n, one in enumerate(segment.located(BUILT.index)) if not one.length)


@pytest.mark.parametrize(
    "change",
    [
        lambda entries: entries[::-1],
        lambda entries: [entries[0], *entries[:-1]],
        lambda entries: [entries[1], entries[0], *entries[2:]],
        replaced(A_RECORD, offset=8),
        replaced(A_RECORD, offset=0),
        replaced(A_RECORD, offset=tail_of(BUILT).keys_at),
        replaced(A_RECORD, offset=2**35 - 8),
        replaced(A_RECORD, length=2**32 - 1),
        replaced(A_RECORD, offset=16, length=tail_of(BUILT).keys_at - 15),
        replaced(A_RECORD, length=0),
        replaced(A_TOMBSTONE, offset=16),
        replaced(A_TOMBSTONE, length=1),
    ],
)
def test_an_index_that_cannot_be_is_corrupt(change: Callable[[list[Located]], list[Located]]):
    with pytest.raises(CorruptEntry):
        rewritten(change)


@pytest.mark.parametrize("keys_at", [0, 8, 17, 2**63, 2**64 - 8])
def test_keys_that_begin_elsewhere_are_corrupt(keys_at: int):
    # Of tombstones alone: no record lies where it should not.
    built = segment.build([tombstone("key")])
    block = keys_block(built, tail_of(built))
    data = raw.tail(built.index, keys_at=keys_at, keys=block)
    with pytest.raises(CorruptEntry):
        segment.read_tail(data, size=keys_at + len(block) + len(data), count=1)


ONE = tail_of(segment.build([record("key", b"1")]))


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"junk",
        raw.packed(["key"])[:-1],
        raw.packed(["key"]) + b"\0",
        raw.packed(["key"]) * 2,
        raw.packed([]),
        raw.packed(["other"]),
        raw.packed([""]),
        raw.packed(["key", "key"]),
        raw.packed({"key": 1}),
        raw.packed([b"key"]),
        raw.packed([1]),
        raw.FRAME.compress(b""),
        raw.FRAME.compress(b"\x91\xa1\xff"),
        raw.FRAME.compress(b"\xdd\xff\xff\xff\xff"),
        raw.FRAME.compress(b"\x91" * 100_000),
        zstandard.ZstdCompressor(write_content_size=False).compress(b"\x91\xa3key"),
        struct.pack("<II", 0x184D2A50, 4) + b"skip",
    ],
)
def test_keys_that_are_not_those_of_the_index_are_corrupt(block: bytes):
    with pytest.raises(CorruptEntry):
        segment.read_keys(block, ONE._replace(keys_hash=blake3(block).digest()))


def test_the_empty_key_stands_for_a_tombstone_only():
    built = segment.build([tombstone("key")])
    block = raw.packed(["key"])
    with pytest.raises(CorruptEntry):
        segment.read_keys(block, tail_of(built)._replace(keys_hash=blake3(block).digest()))


@pytest.mark.parametrize("size", [2**28 + 1, 2**40, 2**64 - 2])
def test_keys_that_claim_to_be_huge_cost_no_memory(size: int):
    # A frame header by hand: magic, descriptor (8 bytes of content size, one segment), size, one raw last block.
    block = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", size) + b"\x01\x00\x00"
    with raw.peak() as memory, pytest.raises(CorruptEntry):
        segment.read_keys(block, ONE._replace(keys_hash=blake3(block).digest()))
    assert memory.bytes < 2**20


def test_a_window_of_more_than_the_keys_need_is_corrupt():
    # A frame by hand: not a single segment, a window of 128 MiB, 4 bytes of content size, one raw last block.
    plain = b"\x91\xa3key"
    raw_block = struct.pack("<I", len(plain) << 3 | 1)[:3] + plain
    block = b"\x28\xb5\x2f\xfd\x80" + bytes([17 << 3]) + struct.pack("<I", len(plain)) + raw_block
    with pytest.raises(CorruptEntry):
        segment.read_keys(block, ONE._replace(keys_hash=blake3(block).digest()))


def test_the_value_of_another_key_is_a_miss_wherever_an_index_points():
    first, second = (segment.digest_of(key) for key in list(VALUES)[:2])
    entries = {one.digest: one for one in segment.located(BUILT.index)}
    wrong = entries | {first: entries[second]._replace(digest=first)}
    data = raw.tail(
        b"".join(map(segment.entry_of, wrong.values())),
        keys_at=tail_of(BUILT).keys_at,
        keys=keys_block(BUILT, tail_of(BUILT)),
    )
    body = BUILT.body[: -BUILT.tail] + data
    assert looked_up(body, BUILT.tail, len(RECORDS), "ns:key-0") is None
    assert looked_up(body, BUILT.tail, len(RECORDS), "ns:key-1") == b"value 1"


def test_an_entry_is_stored_as_its_envelope():
    put = entry("ns:key-0", b"value 0")
    found = segment.find(BUILT.index, segment.digest_of("ns:key-0"))
    assert found is not None
    assert BUILT.body[found.offset : found.offset + found.length] == envelope.encode(put)
