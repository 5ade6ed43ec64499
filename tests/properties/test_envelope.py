"""The wire format: what goes in comes out, copies are byte for byte, and nothing that is read is trusted."""

from __future__ import annotations

import math
import os
import string
import struct

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import raw
from tests.properties.raw import KEY
from tiercache import contents, envelope
from tiercache.entry import Entry, Metadata
from tiercache.errors import CorruptEntry, EntryTooLarge, UnknownFormat

MIB = 2**20
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
TIMES = st.floats(allow_nan=False, allow_infinity=False)
ATTRIBUTES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | TEXT
METADATA = st.builds(
    Metadata,
    key=TEXT,
    created_at=TIMES,
    expires_at=st.none() | TIMES,
    stale_until=st.none() | TIMES,
    as_of=st.none() | TIMES,
    codec=TEXT,
    tags=st.lists(TEXT, max_size=5).map(tuple),
    attributes=st.dictionaries(TEXT, ATTRIBUTES, max_size=5),
)
PAYLOADS = st.binary(max_size=5000) | st.binary(max_size=50).map(lambda piece: piece * 100)


def entry(payload: bytes, **fields: object) -> Entry:
    return Entry(payload, Metadata(**{"key": KEY, "created_at": 1.7e9} | fields))


def zstd(payload: bytes, *, level: int = 3, **options: object) -> bytes:
    return zstandard.ZstdCompressor(level=level, **options).compress(payload)


def compressed(payload: bytes, stored: bytes | None = None, **fields: object) -> bytes:
    """An envelope whose header says zstd and the size of `payload`."""
    return raw.envelope(
        raw.header(**{"n": len(payload), "z": "zstd"} | fields), zstd(payload) if stored is None else stored
    )


# What goes in comes out


@given(metadata=METADATA, payload=PAYLOADS)
def test_an_entry_comes_back_with_every_field_of_its_metadata(metadata: Metadata, payload: bytes):
    data = envelope.encode(Entry(payload, metadata))
    back = envelope.decode(data, metadata.key)
    assert back.payload == payload
    assert back.metadata == msgspec.structs.replace(
        metadata, encoding=back.metadata.encoding, size=len(payload), stored_size=len(data), etag=envelope.etag(data)
    )
    assert [type(value) for value in back.metadata.attributes.values()] == [
        type(value) for value in metadata.attributes.values()
    ]


@given(metadata=METADATA, payload=PAYLOADS)
def test_an_entry_that_was_read_is_written_as_the_same_bytes(metadata: Metadata, payload: bytes):
    data = envelope.encode(Entry(payload, metadata))
    assert envelope.encode(envelope.decode(data, metadata.key)) is data


def test_an_entry_whose_metadata_changed_is_encoded_anew():
    read = envelope.decode(envelope.encode(entry(b"payload", expires_at=1.0)), KEY)
    again = envelope.decode(envelope.encode(read.with_metadata(expires_at=2.0)), KEY)
    assert (again.metadata.expires_at, again.payload) == (2.0, b"payload")


def test_the_same_entry_has_the_same_bytes_and_another_has_another_etag():
    one, same, other = (envelope.encode(entry(payload)) for payload in (b"a", b"a", b"b"))
    assert one == same
    assert envelope.etag(one) == envelope.etag(same) != envelope.etag(other)


def test_the_bytes_are_those_that_the_module_documents():
    fields = {"e": 1.8e9, "s": 1.9e9, "o": 1.6e9, "g": ["a", "b"], "a": {"model": "m", "price": 0.5}}
    read = envelope.decode(raw.envelope(raw.header(n=3, t="str", **fields), b"abc"), KEY)
    assert read.payload == b"abc"
    assert (read.metadata.expires_at, read.metadata.stale_until, read.metadata.as_of) == (1.8e9, 1.9e9, 1.6e9)
    assert (read.metadata.tags, read.metadata.attributes) == (("a", "b"), {"model": "m", "price": 0.5})


def test_a_field_that_this_release_does_not_know_is_ignored():
    data = raw.envelope(raw.header(n=1, later={"a": [1, 2, {"b": None}]}), b"x")
    assert envelope.decode(data, KEY).payload == b"x"


# Compression


@pytest.mark.parametrize(
    ("size", "encoding"), [(0, ""), (1, ""), (envelope.COMPRESS_OVER, ""), (envelope.COMPRESS_OVER + 1, "zstd")]
)
def test_a_payload_above_the_threshold_is_compressed(size: int, encoding: str):
    data = envelope.encode(entry(b"a" * size))
    read = envelope.decode(data, KEY)
    assert (read.payload, read.metadata.encoding, read.metadata.size) == (b"a" * size, encoding, size)
    assert read.metadata.stored_size == len(data)
    assert (len(data) < size) == bool(encoding)


def test_what_shrinks_too_little_is_stored_as_it_is():
    read = envelope.decode(envelope.encode(entry(os.urandom(10_000))), KEY)
    assert read.metadata.encoding == ""


def test_raw_arrays_are_stored_as_they_are():
    read = envelope.decode(envelope.encode(entry(bytes(10_000), codec="ndarray;<f4;2500")), KEY)
    assert read.metadata.encoding == ""


@pytest.mark.parametrize("size", [1025, 4096, 4097, 131_072, MIB - 1, MIB, MIB + 1, 3 * MIB + 7, 20 * MIB])
def test_what_is_compressed_at_any_size_can_be_read(size: int):
    payload = (string.ascii_letters.encode() * (size // 52 + 1))[:size]
    assert envelope.decode(envelope.encode(entry(payload)), KEY).payload == payload


@pytest.mark.parametrize("level", [-5, 1, 3, 12, 22])
def test_frames_of_any_level_can_be_read(level: int):
    payload = bytes(range(256)) * 2000
    assert envelope.decode(compressed(payload, zstd(payload, level=level)), KEY).payload == payload


# Whose entry it is


def test_the_entry_of_another_key_is_corrupt():
    with pytest.raises(CorruptEntry, match="another key"):
        envelope.decode(envelope.encode(entry(b"x")), "ns:other")


def test_without_a_key_any_entry_is_accepted():
    assert envelope.decode(envelope.encode(entry(b"x"))).metadata.key == KEY


# What is refused


def test_what_claims_more_than_max_payload_is_never_decompressed(monkeypatch: pytest.MonkeyPatch):
    payload = b"a" * 2000
    data = envelope.encode(entry(payload))

    def decompress(*_: object, **__: object) -> bytes:
        raise AssertionError("it was decompressed")

    monkeypatch.setattr(contents._zstd, "decompress", decompress)
    with pytest.raises(CorruptEntry, match="2,000 bytes"):
        envelope.decode(data, KEY, max_payload=1999)


@pytest.mark.parametrize("payload", [b"a" * 1000, b"a" * 2000], ids=["plain", "compressed"])
def test_max_payload_itself_is_accepted(payload: bytes):
    data = envelope.encode(entry(payload))
    assert envelope.decode(data, KEY, max_payload=len(payload)).payload == payload
    with pytest.raises(CorruptEntry):
        envelope.decode(data, KEY, max_payload=len(payload) - 1)


BOMB = zstd(bytes(100 * MIB))  # 3 KiB
SMALL = zstd(bytes(5000))
UNSIZED = zstd(bytes(5000), write_content_size=False)
# Frames by hand: a header, and one block that repeats a byte.
WIDE_WINDOW = b"\x28\xb5\x2f\xfd\x80\x88" + struct.pack("<I", 5000) + b"\x43\x9c\x00a"
HUGE_SIZE = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 200 * MIB) + b"\x03\x00\x00a"
DICT_ID = b"\x28\xb5\x2f\xfd\x21\x07\x01\x09\x00\x00a"


def skippable(size: int) -> bytes:
    return b"\x50\x2a\x4d\x18" + struct.pack("<I", size) + bytes(size)


def nested(opening: bytes, depth: int) -> bytes:
    """A header with an unknown field that holds `depth` levels."""
    return (
        b"\x85\xa1k\xa6ns:key\xa1c\xcb" + struct.pack(">d", 1.7e9) + b"\xa1t\xa5bytes\xa1n\x00\xa1?" + opening * depth
    )


HOSTILE = {
    "nothing": b"",
    "only the magic": b"TIER",
    "one byte too few": raw.envelope(b"")[:-1],
    "another magic": raw.envelope(raw.header(), magic=b"ZIER"),
    "an empty header": raw.envelope(b""),
    "a header of nil": raw.envelope(b"\xc0"),
    "a header of one array": raw.envelope(b"\x91\xc0"),
    "a header without its key": raw.envelope(msgspec.msgpack.encode({"c": 1.0, "t": "bytes", "n": 0})),
    "a header of JSON": raw.envelope(b'{"k": "ns:key", "c": 1.0, "t": "bytes", "n": 0}'),
    "bytes after the header": raw.envelope(raw.header() + b"\xc0"),
    "a header size of 4 GiB": raw.envelope(raw.header(), header_size=2**32 - 1),
    "a payload size of 16 EiB": raw.envelope(raw.header(), stored_size=2**64 - 1),
    "lengths that are swapped": raw.envelope(
        raw.header(n=5), b"12345", header_size=5, stored_size=len(raw.header(n=5))
    ),
    "a header over the limit": raw.envelope(raw.header(a={"x": "y" * MIB})),
    "a payload longer than its size": raw.envelope(raw.header(n=2), b"123"),
    "a payload shorter than its size": raw.envelope(raw.header(n=4), b"123"),
    "a negative size": raw.envelope(raw.header(n=-1)),
    "a size of 2**63": raw.envelope(raw.header(n=2**63)),
    "a size that is a float": raw.envelope(raw.header(n=0.5)),
    "a key that is bytes": raw.envelope(raw.header(k=b"ns:key")),
    "a key of another case": raw.envelope(raw.header(k="ns:Key")),
    "a key that is no UTF-8": raw.envelope(raw.header().replace(b"ns:key", b"ns:\xff\xfe\xfd")),
    "a time of NaN": raw.envelope(raw.header(c=math.nan)),
    "an end of infinity": raw.envelope(raw.header(e=math.inf)),
    "a stale time of NaN": raw.envelope(raw.header(e=1.8e9, s=math.nan)),
    "a load at minus infinity": raw.envelope(raw.header(o=-math.inf)),
    "a time that is text": raw.envelope(raw.header(c="1.7e9")),
    "a time that is None": raw.envelope(raw.header(c=None)),
    "tags that are no text": raw.envelope(raw.header(g=[1])),
    "a billion tags": raw.envelope(raw.header(g=[])[:-1] + b"\xdd\x3b\x9a\xca\x00"),
    "attributes that are nested": raw.envelope(raw.header(a={"x": {"y": 1}})),
    "a billion attributes": raw.envelope(raw.header(a={})[:-1] + b"\xdf\x3b\x9a\xca\x00"),
    "a text of 4 GiB": raw.envelope(raw.header(t="")[:-1] + b"\xdb\xff\xff\xff\xff"),
    "an unknown field of 4 GiB": raw.envelope(nested(b"\xc6\xff\xff\xff\xff", 1)),
    "an unknown field 1,000,000 arrays deep": raw.envelope(nested(b"\x91", 1_000_000)),
    "an unknown field 300,000 maps deep": raw.envelope(nested(b"\x81\x01", 300_000)),
    "arrays in arrays of a million": raw.envelope(nested(b"\xdd\x00\x0f\x00\x00", 900) + b"\xc0" * 900_000),
    "a frame that is none": compressed(b"a" * 5000, b"a" * 100),
    "an empty frame": compressed(b"a" * 5000, b""),
    "a frame that is cut": compressed(bytes(5000), SMALL[:-1]),
    "a frame and bytes after it": compressed(bytes(5000), SMALL + b"x"),
    "two frames": compressed(bytes(10_000), SMALL + SMALL),
    "a skippable frame": compressed(bytes(5000), skippable(5000)),
    "a frame behind a skippable one": compressed(bytes(5000), skippable(10) + SMALL),
    "a frame of another size": compressed(bytes(4999), SMALL),
    "a frame without its size": compressed(bytes(5000), UNSIZED),
    "a frame with a dictionary": compressed(bytes(1), DICT_ID),
    "a frame with a window of 128 MiB": compressed(bytes(5000), WIDE_WINDOW),
    "17 bytes that claim 200 MiB": raw.envelope(raw.header(n=200 * MIB, z="zstd"), HUGE_SIZE),
    "a bomb that claims to be small": raw.envelope(raw.header(n=5000, z="zstd"), BOMB),
    "a bomb over the limit": raw.envelope(raw.header(n=300 * MIB, z="zstd"), BOMB),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_intact_entry_is_corrupt_and_costs_no_memory(name: str):
    data = HOSTILE[name]
    with raw.peak() as memory, pytest.raises(CorruptEntry) as caught:
        envelope.decode(data, KEY)
    assert caught.type is CorruptEntry
    # The copy of the stored payload, and what the messages and msgpack's own tables take.
    assert memory.bytes < 32 * 1024 + 2 * len(data)


def test_the_hostile_frames_are_what_their_names_say():
    wide = zstandard.get_frame_parameters(WIDE_WINDOW)
    assert (wide.window_size, wide.content_size) == (128 * MIB, 5000)
    assert zstandard.decompress(WIDE_WINDOW) == b"a" * 5000
    assert zstandard.get_frame_parameters(DICT_ID).dict_id == 7
    assert zstandard.get_frame_parameters(HUGE_SIZE).content_size == 200 * MIB
    assert zstandard.get_frame_parameters(UNSIZED).content_size == zstandard.CONTENTSIZE_UNKNOWN
    assert len(BOMB) < 10_000


def test_a_bomb_within_the_limit_takes_no_more_than_the_limit():
    data = raw.envelope(raw.header(n=100 * MIB, z="zstd"), BOMB)
    with raw.peak() as memory, pytest.raises(CorruptEntry):
        envelope.decode(data, KEY, max_payload=99 * MIB)
    assert memory.bytes < MIB
    with raw.peak() as memory:
        assert len(envelope.decode(data, KEY, max_payload=100 * MIB).payload) == 100 * MIB
    assert memory.bytes < 101 * MIB


LATER = {
    "version 2": raw.envelope(raw.header(), version=2),
    "version 0": raw.envelope(raw.header(), version=0),
    "version 2, of which nothing else is known": b"TIER\x02" + bytes(100),
    "a flag": raw.envelope(raw.header(), flags=1),
    "the reserved field": raw.envelope(raw.header(), reserved=1),
    "an unknown encoding": raw.envelope(raw.header(n=3, z="brotli"), b"abc"),
    "an encryption key": raw.envelope(raw.header(n=3, i="key-1"), b"abc"),
    "an empty encryption key": raw.envelope(raw.header(n=3, i=""), b"abc"),
}


@pytest.mark.parametrize("name", LATER)
def test_what_a_later_release_wrote_is_an_unknown_format(name: str):
    with pytest.raises(UnknownFormat):
        envelope.decode(LATER[name], KEY)


# Damage


PLAIN = envelope.encode(entry(b"payload", expires_at=1.8e9, tags=("t",), attributes={"model": "m"}))
PACKED = envelope.encode(entry(b"payload " * 200, codec="str"))


@pytest.mark.parametrize("data", [PLAIN, PACKED], ids=["plain", "compressed"])
def test_no_flipped_bit_goes_unnoticed(data: bytes):
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptEntry):
            envelope.decode(bytes(damaged), KEY)


@pytest.mark.parametrize("data", [PLAIN, PACKED], ids=["plain", "compressed"])
def test_no_truncation_goes_unnoticed(data: bytes):
    for size in range(len(data)):
        with pytest.raises(CorruptEntry):
            envelope.decode(data[:size], KEY)
        with pytest.raises(CorruptEntry):
            envelope.decode(data[size + 1 :], KEY)


def test_nothing_may_follow_an_entry():
    for tail in (b"\0", PLAIN, PLAIN[-32:]):
        with pytest.raises(CorruptEntry):
            envelope.decode(PLAIN + tail, KEY)


@given(st.binary(max_size=300))
def test_bytes_that_begin_like_an_entry_are_corrupt(tail: bytes):
    with pytest.raises(CorruptEntry):
        envelope.decode(b"TIER\x01\x00\x00\x00" + tail, KEY)


# What is not encoded


def test_a_header_over_the_limit_is_too_large():
    with pytest.raises(EntryTooLarge, match="1 MiB"):
        envelope.encode(entry(b"", attributes={"prompt": "x" * MIB}))


@pytest.mark.parametrize(
    "fields",
    [
        {"tags": ("\ud800",)},
        {"attributes": {"\udfff": 1}},
        {"attributes": {"a": "\ud800"}},
        {"attributes": {"a": 2**64}},
    ],
    ids=["tag", "name", "text", "int"],
)
def test_what_a_header_cannot_hold_is_refused_as_the_entry_s_fault(fields: dict[str, object]):
    with pytest.raises(EntryTooLarge, match="64 bits or a lone surrogate"):
        envelope.encode(entry(b"", **fields))


def test_a_payload_over_the_limit_is_too_large(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(contents, "MAX_PAYLOAD_BYTES", 1000)
    with pytest.raises(EntryTooLarge, match="1,001 bytes"):
        envelope.encode(entry(bytes(1001)))


# Messages


def test_no_message_shows_what_the_entry_holds():
    data = raw.envelope(raw.header(k="ns:SECRET", n=3, z="zstd", a={"SECRET": "SECRET"}), b"SECRET")
    for damaged, key in (
        (data, "ns:SECRET"),
        (data, "ns:other"),
        (data[:-1], None),
        (data.replace(b"SECR", b"\xff"), None),
    ):
        with pytest.raises(CorruptEntry) as caught:
            envelope.decode(damaged, key)
        assert "SECRET" not in str(caught.value)
