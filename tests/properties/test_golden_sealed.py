"""Sealed envelopes written by earlier releases: the same keys open them, and write the same bytes.

`python -m tests.properties.test_golden_sealed` writes the files of new entries below tests/golden/sealed/, as
`test_golden` does for plain ones. Secret and nonce stand here: they protect nothing.
"""

from __future__ import annotations

import sys

import pytest

from tests.properties import test_golden
from tests.properties.values import canonical
from tiercache import KeyRing, codec, envelope
from tiercache.entry import Entry, Metadata
from tiercache.errors import NotSealed, UnknownKey
from tiercache.sealing import sealed as sealing
from tiercache.sealing.sealed import SealedEnvelope

FILES = test_golden.FILES / "sealed"
SECRET = bytes(range(7, 256, 8))
NONCE = bytes(range(12))
NAMES = ["bytes", "bytes-tags-attributes", "str-unicode-key", "str-zstd", "msgpack-zstd", "ndarray-f4"]
SEALED = {
    "keyed": SealedEnvelope(KeyRing({"golden-1": SECRET}, encrypt=False)),
    "encrypted": SealedEnvelope(KeyRing({"golden-1": SECRET})),
}
CASES = [(kind, name) for kind in SEALED for name in NAMES]


@pytest.fixture(autouse=True)
def _nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "new_nonce", lambda: NONCE)


def entry(name: str) -> Entry:
    value, fields, _ = test_golden.ENTRIES[name]
    payload, codec_name = codec.encode(value)
    return Entry(payload, Metadata(**{"key": f"golden:{name}", "created_at": 1.7e9} | fields, codec=codec_name))


def stored(kind: str, name: str) -> bytes:
    return (FILES / f"{name}.{kind}.v{envelope.VERSION}.bin").read_bytes()


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_sealed_entry_of_an_earlier_release_is_read(kind: str, name: str):
    value, fields, type = test_golden.ENTRIES[name]
    put = entry(name)
    back = SEALED[kind].decode(stored(kind, name), put.metadata.key)
    assert canonical(codec.decode(back.payload, back.metadata.codec, type)) == canonical(value)
    assert {field: getattr(back.metadata, field) for field in fields} == fields
    assert back.metadata.key_id == "golden-1"


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_sealed_entry_is_written_as_earlier_releases_wrote_it(kind: str, name: str):
    golden, today = stored(kind, name), SEALED[kind].encode(entry(name))
    assert today[:8] == golden[:8]
    if SEALED[kind].decode(golden).metadata.encoding != "zstd":  # another zstd may find another frame
        assert today == golden


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_sealed_entry_is_nothing_without_its_key(kind: str, name: str):
    for other in (envelope.PLAIN, SealedEnvelope(KeyRing({"golden-2": SECRET[::-1]}, encrypt=False))):
        with pytest.raises(UnknownKey):
            other.decode(stored(kind, name))


@pytest.mark.parametrize("name", NAMES)
def test_a_keyed_file_is_refused_by_who_asks_for_encryption(name: str):
    with pytest.raises(NotSealed):
        SEALED["encrypted"].decode(stored("keyed", name))


def test_every_file_is_of_a_case():
    names = {f"{name}.{kind}.v{envelope.VERSION}.bin" for kind, name in CASES}
    assert {path.name for path in FILES.glob("*.bin")} == names


def write() -> None:
    """Write the files that are not there yet."""
    FILES.mkdir(parents=True, exist_ok=True)
    sealing.new_nonce = lambda: NONCE
    for kind, name in CASES:
        path = FILES / f"{name}.{kind}.v{envelope.VERSION}.bin"
        if not path.exists():
            path.write_bytes(SEALED[kind].encode(entry(name)))
            sys.stdout.write(f"wrote {path.name}\n")


if __name__ == "__main__":
    write()
