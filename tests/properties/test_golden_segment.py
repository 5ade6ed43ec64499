"""Segments written by earlier releases: today's reader finds what is in them, and today's writer makes the same bytes.

`python -m tests.properties.test_golden_segment` writes the files of new segments below tests/golden/packed/, as
`test_golden` does for envelopes. Their names are those of objects: a ULID, the entries, the bytes of the tail.
"""

from __future__ import annotations

import sys

import pytest

from tests.packed.segments import SEALED, entry, record, tombstone
from tests.properties import test_golden
from tiercache import envelope
from tiercache.errors import UnknownFormat
from tiercache.packed import naming, segment
from tiercache.packed.naming import SegmentName
from tiercache.packed.segment import Record, Tail
from tiercache.sealing import sealed as sealing

FILES = test_golden.FILES / "packed"
NONCE = bytes(range(12))
VALUES = {"golden:a": b"text", "golden:ключ/…~😀": b"", "golden:long": bytes(range(256)) * 3}
ULIDS = {
    name: f"01HF7YAT00000000000000000{number}" for number, name in enumerate(["plain", "sealed", "tombstones", "one"])
}


@pytest.fixture(autouse=True)
def _nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "new_nonce", lambda: NONCE)


def records(name: str) -> list[Record]:
    opener = SEALED if name == "sealed" else envelope.PLAIN
    if name == "one":
        return [record("golden:a", b"text", stamp=1_700_000_000_123)]
    found = [tombstone("golden:deleted", stamp=2**48 - 1), tombstone("golden:gone", stamp=0)]
    if name == "tombstones":
        return found
    found += [
        record(key, value, stamp=1_700_000_000_000 + n, gone_at=n and 2**32 - n, sealed=opener)
        for n, (key, value) in enumerate(VALUES.items())
    ]
    return found


def name_today(name: str) -> str:
    built = segment.build(records(name))
    return naming.object_name("", SegmentName("30d", ULIDS[name], len(records(name)), built.tail))


def stored(name: str) -> tuple[SegmentName, bytes]:
    """The name of the object that holds the segment, and its bytes."""
    [path] = FILES.glob(f"{ULIDS[name]}-*.v{segment.VERSION}.bin")
    called = naming.parse("", f"{naming.FOLDER}30d/{path.name.removesuffix(f'.v{segment.VERSION}.bin')}")
    assert called is not None
    return called, path.read_bytes()


def read(name: str) -> tuple[Tail, bytes]:
    called, body = stored(name)
    return segment.read_tail(body[-called.tail :], size=len(body), count=called.count), body


@pytest.mark.parametrize("name", ULIDS)
def test_a_segment_of_an_earlier_release_is_read(name: str):
    tail, body = read(name)
    opener = SEALED if name == "sealed" else envelope.PLAIN
    names = segment.read_keys(body[tail.keys_at : tail.keys_at + tail.keys_bytes], tail)
    assert names == [one.key for one in sorted(records(name))]
    for put in records(name):
        found = segment.find(tail.index, put.digest)
        assert found is not None
        assert (found.stamp, found.gone_at, found.length) == (put.stamp, put.gone_at, len(put.data))
        if put.key:
            back = opener.decode(body[found.offset : found.offset + found.length], put.key)
            assert back.payload == entry(put.key, VALUES[put.key]).payload


@pytest.mark.parametrize("name", ULIDS)
def test_a_segment_is_written_as_earlier_releases_wrote_it(name: str):
    tail, body = read(name)
    today = segment.build(records(name))
    # Another zstd may find another frame for the same keys.
    assert today.index == tail.index
    assert today.body[: tail.keys_at] == body[: tail.keys_at]
    assert today.body[:16] == b"TIERSEGM\0\0\0\1\0\0\0\0"
    assert today.tail == stored(name)[0].tail


@pytest.mark.parametrize("name", ULIDS)
def test_a_segment_of_a_later_version_is_left_alone(name: str):
    called, body = stored(name)
    later = bytearray(body)
    later[-9] += 1
    with pytest.raises(UnknownFormat):
        segment.read_tail(bytes(later[-called.tail :]), size=len(body), count=called.count)


def test_every_file_is_of_a_segment():
    files = {path.name for path in FILES.glob("*.bin")}
    assert files == {f"{name_today(name).rpartition('/')[2]}.v{segment.VERSION}.bin" for name in ULIDS}


def write() -> None:
    """Write the files that are not there yet."""
    FILES.mkdir(parents=True, exist_ok=True)
    sealing.new_nonce = lambda: NONCE
    for name in ULIDS:
        path = FILES / f"{name_today(name).rpartition('/')[2]}.v{segment.VERSION}.bin"
        if not path.exists():
            path.write_bytes(segment.build(records(name)).body)
            sys.stdout.write(f"wrote {path.name}\n")


if __name__ == "__main__":
    write()
