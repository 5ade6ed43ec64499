"""Sealed envelopes: what they hide, whom they belong to, what they refuse, and that refusing costs no memory."""

from __future__ import annotations

import os
import struct
import threading
import warnings

import msgspec
import pytest
import zstandard
from cryptography.exceptions import InvalidTag

from tests.properties import raw
from tiercache import KeyRing, envelope
from tiercache.entry import Entry, Metadata
from tiercache.envelope import PLAIN
from tiercache.errors import CorruptEntry, EntryTooLarge, NotSealed, UnknownFormat, UnknownKey
from tiercache.sealing import sealed as sealing
from tiercache.sealing.sealed import SealedEnvelope

KEY = raw.KEY
OLD, NEW = os.urandom(32), os.urandom(32)
KEYED = SealedEnvelope(KeyRing({"2026-11": NEW}, encrypt=False))
ENCRYPTED = SealedEnvelope(KeyRing({"2026-11": NEW}))
BOTH = pytest.mark.parametrize("sealed", [KEYED, ENCRYPTED], ids=["keyed", "encrypted"])


def entry(payload: bytes = b"payload", key: str = KEY, **fields: object) -> Entry:
    metadata = {"created_at": 1.7e9, "tags": ("tag-canary",), "attributes": {"model": "attribute-canary"}} | fields
    return Entry(payload, Metadata(key=key, **metadata))  # type: ignore[arg-type]


def forged(sealed: SealedEnvelope, body: bytes) -> bytes:
    """A body with a tag that fits, as only somebody with the key could make it."""
    return body + sealed.keys.writing.tag(body)


# What they hold


@BOTH
@pytest.mark.parametrize("payload", [b"", b"short", b"long enough to be compressed " * 1000, os.urandom(5000)])
def test_an_entry_comes_back_as_it_was(sealed: SealedEnvelope, payload: bytes):
    put = entry(payload, expires_at=1.8e9, stale_until=1.9e9, as_of=1.6e9, codec="str")
    data = sealed.encode(put)
    for key in (KEY, None):
        back = sealed.decode(data, key)
        assert back.payload == payload
        assert back.metadata == msgspec.structs.replace(
            put.metadata,
            encoding=back.metadata.encoding,
            size=len(payload),
            stored_size=len(data),
            etag=envelope.etag(data),
            key_id="2026-11",
        )


def test_an_encrypted_envelope_shows_lengths_and_the_id_of_its_key_alone():
    data = ENCRYPTED.encode(entry(b"value-canary", key="ns:key-canary"))
    assert b"2026-11" in data
    assert b"canary" not in data


def test_a_keyed_envelope_hides_nothing():
    data = KEYED.encode(entry(b"value-canary", key="ns:key-canary"))
    for text in (b"value-canary", b"ns:key-canary", b"tag-canary", b"attribute-canary"):
        assert text in data


def test_two_encryptions_of_one_entry_have_nothing_in_common_but_their_lengths_and_owner():
    first, second = ENCRYPTED.encode(entry()), ENCRYPTED.encode(entry())
    clear = 20 + len("2026-11") + 16
    assert first[:clear] == second[:clear]
    assert first[clear : clear + 12] != second[clear : clear + 12], "the nonce"
    assert first[clear + 12 :] != second[clear + 12 :]


def test_nonces_are_random_in_a_child_process_too():
    drawn, (read_end, write_end) = {sealing.new_nonce() for _ in range(1000)}, os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # later Pythons warn of forking beside threads
        child = os.fork()
    if child == 0:
        os.write(write_end, b"".join(sealing.new_nonce() for _ in range(100)))
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(read_end, 1200)
    drawn |= {theirs[at : at + 12] for at in range(0, 1200, 12)}
    os.close(read_end)
    os.close(write_end)
    assert len(drawn) == 1100
    assert {len(nonce) for nonce in drawn} == {12}


@BOTH
def test_threads_share_a_ring(sealed: SealedEnvelope):
    wrong: list[int] = []

    def work(number: int) -> None:
        for turn in range(200):
            key, payload = f"ns:{number}", b"%d %d" % (number, turn) * 100
            if sealed.decode(sealed.encode(entry(payload, key)), key).payload != payload:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert wrong == []


# Whom they belong to


@BOTH
@pytest.mark.parametrize(("mine", "theirs"), [("ns:a", "ns:b"), ("tenant-1:k", "tenant-2:k"), ("ns:a", "ns:a ")])
def test_swapped_envelopes_are_no_entries(sealed: SealedEnvelope, mine: str, theirs: str):
    data = sealed.encode(entry(b"theirs", theirs))
    with pytest.raises(CorruptEntry, match="another key"):
        sealed.decode(data, mine)


def test_a_ciphertext_opens_as_no_other_key_even_for_who_has_the_secret():
    """Not the comparison of keys alone: another owner is another AES key and other associated data."""
    data = ENCRYPTED.encode(entry(b"theirs", "ns:theirs"))
    key, at = ENCRYPTED.keys.writing, 20 + len("2026-11") + 16 + 12
    mine = key.owner("ns:mine")
    with pytest.raises(InvalidTag):
        key.cipher(mine).decrypt(data[at - 12 : at], data[at:-32], data[:at])
    relabelled = forged(ENCRYPTED, data[: at - 28] + mine + data[at - 12 : -32])
    with pytest.raises(CorruptEntry, match="cannot be decrypted"):
        ENCRYPTED.decode(relabelled, "ns:mine")


@pytest.mark.parametrize("at", [*range(20), 20, 26, 27, 42, 43, 54])
def test_all_that_stands_before_a_ciphertext_is_bound_to_it(at: int):
    """Associated data: with a tag that fits, too, another start does not decrypt."""
    body = bytearray(ENCRYPTED.encode(entry(b"x" * 500))[:-32])
    body[at] ^= 1
    with pytest.raises(CorruptEntry):
        ENCRYPTED.decode(forged(ENCRYPTED, bytes(body)), None)


@BOTH
def test_every_flipped_bit_is_a_miss(sealed: SealedEnvelope):
    data = sealed.encode(entry(b"some payload"))
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptEntry):
            sealed.decode(bytes(damaged), KEY)


@BOTH
def test_every_truncation_is_a_miss(sealed: SealedEnvelope):
    data = sealed.encode(entry(b"some payload"))
    for size in range(len(data)):
        for part in (data[:size], data[len(data) - size :]):
            with pytest.raises(CorruptEntry):
                sealed.decode(part, KEY)


# Which key, and how much of it


@pytest.mark.parametrize("encrypt", [True, False])
def test_old_keys_read_and_the_active_one_writes(encrypt: bool):
    before = SealedEnvelope(KeyRing({"old": OLD}, encrypt=encrypt))
    after = SealedEnvelope(KeyRing({"new": NEW, "old": OLD}, encrypt=encrypt))
    assert after.decode(before.encode(entry(b"kept")), KEY).payload == b"kept"
    assert after.decode(after.encode(entry()), KEY).metadata.key_id == "new"


@BOTH
def test_the_key_of_others_is_an_unknown_key_and_left_alone(sealed: SealedEnvelope):
    others = SealedEnvelope(KeyRing({"theirs": OLD}, encrypt=sealed.keys.encrypt))
    with pytest.raises(UnknownKey, match="'theirs'") as caught:
        sealed.decode(others.encode(entry()), KEY)
    assert isinstance(caught.value, UnknownFormat)


@BOTH
def test_another_secret_under_the_same_id_is_corrupt(sealed: SealedEnvelope):
    others = SealedEnvelope(KeyRing({"2026-11": OLD}, encrypt=sealed.keys.encrypt))
    with pytest.raises(CorruptEntry, match="tag does not match") as caught:
        sealed.decode(others.encode(entry()), KEY)
    assert not isinstance(caught.value, UnknownFormat)


@BOTH
def test_without_keys_a_sealed_entry_is_an_unknown_key(sealed: SealedEnvelope):
    with pytest.raises(UnknownKey, match="give the chain its keys"):
        PLAIN.decode(sealed.encode(entry()), KEY)


@pytest.mark.parametrize(
    ("flags", "id_size"), [(2, 0), (2, 7), (4, 0), (8, 7), (255, 7), (0, 7), (1, 0), (3, 0), (7, 7)]
)
def test_flags_of_a_later_release_are_left_alone(flags: int, id_size: int):
    body = bytearray(ENCRYPTED.encode(entry())[:-32])
    struct.pack_into(">BH", body, 5, flags, id_size)
    for one in (PLAIN, KEYED, ENCRYPTED):
        with pytest.raises(UnknownFormat, match=f"format 1.{flags}"):
            one.decode(forged(ENCRYPTED, bytes(body)), KEY)


# A downgrade


def weaker() -> dict[str, tuple[bytes, SealedEnvelope]]:
    plain, keyed = PLAIN.encode(entry(b"forged")), KEYED.encode(entry(b"weaker"))
    return {"plain for keyed": (plain, KEYED), "plain": (plain, ENCRYPTED), "keyed": (keyed, ENCRYPTED)}


@pytest.mark.parametrize("case", weaker())
def test_less_than_the_ring_asks_for_is_refused(case: str):
    data, sealed = weaker()[case]
    with pytest.raises(NotSealed, match="accept_plain and accept_unencrypted") as caught:
        sealed.decode(data, KEY)
    assert not isinstance(caught.value, UnknownFormat), "the next write, or a good copy from below, replaces it"


def test_flags_taken_off_do_not_make_a_plain_envelope():
    """Somebody without the key makes what is keyed plain, with a tag of their own."""
    header, stored = raw.parts(PLAIN.encode(entry(b"forged")))
    for one in (KEYED, ENCRYPTED, SealedEnvelope(KeyRing({"2026-11": NEW}, accept_unencrypted=True))):
        with pytest.raises(NotSealed):
            one.decode(raw.envelope(header, stored), KEY)


def test_what_is_more_than_the_ring_asks_for_is_read():
    assert KEYED.decode(ENCRYPTED.encode(entry(b"stronger")), KEY).payload == b"stronger"


def test_plain_entries_are_read_where_that_is_asked_for_and_written_sealed():
    moving = SealedEnvelope(KeyRing({"2026-11": NEW}, accept_plain=True))
    read = moving.decode(PLAIN.encode(entry(b"from before")), KEY)
    assert (read.payload, read.metadata.key_id) == (b"from before", None)
    assert ENCRYPTED.decode(moving.encode(read), KEY).payload == b"from before"
    assert moving.decode(KEYED.encode(entry(b"keyed")), KEY).payload == b"keyed"


def test_unencrypted_entries_are_read_where_that_is_asked_for_and_plain_ones_are_not():
    moving = SealedEnvelope(KeyRing({"2026-11": NEW}, accept_unencrypted=True))
    assert moving.decode(KEYED.encode(entry(b"keyed")), KEY).payload == b"keyed"
    with pytest.raises(NotSealed):
        moving.decode(PLAIN.encode(entry()), KEY)


# From tier to tier


@BOTH
def test_what_was_read_is_written_as_the_same_bytes(sealed: SealedEnvelope):
    data = sealed.encode(entry())
    assert SealedEnvelope(sealed.keys).encode(sealed.decode(data, KEY)) is data


def test_what_an_old_key_sealed_is_sealed_anew_on_its_way():
    before, after = SealedEnvelope(KeyRing({"old": OLD})), SealedEnvelope(KeyRing({"new": NEW, "old": OLD}))
    moved = after.encode(after.decode(before.encode(entry(b"kept")), KEY))
    assert after.decode(moved, KEY).metadata.key_id == "new"
    assert SealedEnvelope(KeyRing({"new": NEW})).decode(moved, KEY).payload == b"kept"


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (ENCRYPTED, PLAIN),
        (KEYED, PLAIN),
        (PLAIN, ENCRYPTED),
        (KEYED, ENCRYPTED),
        (ENCRYPTED, SealedEnvelope(KeyRing({"2026-11": OLD}))),
        (ENCRYPTED, SealedEnvelope(KeyRing({"other": OLD}, encrypt=False))),
    ],
    ids=["to plain", "keyed to plain", "from plain", "keyed to encrypted", "same id, other secret", "other ring"],
)
def test_an_entry_of_other_keys_is_encoded_for_its_new_place(source: envelope.Envelope, target: envelope.Envelope):
    read = source.decode(source.encode(entry(b"moved")), KEY)
    back = target.decode(target.encode(read), KEY)
    assert (back.payload, back.metadata.tags) == (b"moved", ("tag-canary",))
    assert back.metadata.key_id == (target.keys.active if isinstance(target, SealedEnvelope) else None)


def test_changed_metadata_are_sealed_anew():
    read = ENCRYPTED.decode(ENCRYPTED.encode(entry(expires_at=1.8e9)), KEY)
    assert ENCRYPTED.decode(ENCRYPTED.encode(read.with_metadata(expires_at=1.9e9)), KEY).metadata.expires_at == 1.9e9


# Limits, before anything is decrypted or made


def hostile(sealed: SealedEnvelope, stored: bytes, **fields: object) -> bytes:
    """An envelope of somebody who has the key: what its header claims is made up."""
    header = raw.header(**fields)
    make = sealing._encrypted if sealed.keys.encrypt else sealing._tagged
    return make(sealed.keys.writing, KEY, header, stored)


@BOTH
def test_more_than_the_limit_is_refused_before_it_is_decrypted(sealed: SealedEnvelope, monkeypatch: pytest.MonkeyPatch):
    data = sealed.encode(entry(os.urandom(2000)))

    def opened(*_: object) -> bytes:
        raise AssertionError("it was opened, or its tag was computed")

    monkeypatch.setattr(sealing.Key, "tag", opened)
    monkeypatch.setattr(sealing.Key, "cipher", opened)
    with pytest.raises(CorruptEntry, match="2,000 bytes of payload, 1,999 are accepted"):
        sealed.decode(data, KEY, max_payload=1999)


@BOTH
def test_a_bomb_is_refused_without_memory(sealed: SealedEnvelope):
    size = 64 * 2**20
    frame = zstandard.ZstdCompressor().compress(bytes(size))
    bombs = [hostile(sealed, frame, n=size, z="zstd"), hostile(sealed, frame, n=1000, z="zstd")]
    bombs.append(hostile(sealed, b"short", n=size))
    with raw.peak() as memory:
        for bomb in bombs:
            with pytest.raises(CorruptEntry):
                sealed.decode(bomb, KEY, max_payload=2**20)
    assert memory.bytes < 2**20


@BOTH
def test_a_header_over_its_limit_is_refused_without_memory(sealed: SealedEnvelope):
    data = hostile(sealed, b"", g=["t" * (16 * 2**20)])
    with raw.peak() as memory, pytest.raises(CorruptEntry, match="lengths are wrong"):
        sealed.decode(data, KEY)
    assert memory.bytes < 2**20


@BOTH
@pytest.mark.parametrize("kind", ["as it is", "compressed"])
def test_the_largest_entry_takes_twice_its_bytes_at_most(sealed: SealedEnvelope, kind: str):
    limit = 8 * 2**20
    payload = os.urandom(limit) if kind == "as it is" else os.urandom(1024) * (limit // 1024)
    data = sealed.encode(entry(payload))
    with raw.peak() as memory:
        assert sealed.decode(data, KEY, max_payload=limit).payload == payload
    assert memory.bytes < 2.1 * limit


@BOTH
def test_lengths_that_overflow_are_refused(sealed: SealedEnvelope):
    data = bytearray(sealed.encode(entry()))
    struct.pack_into(">IQ", data, 8, 2**32 - 1, 2**64 - 1)
    with pytest.raises(CorruptEntry, match="lengths are wrong"):
        sealed.decode(bytes(data), KEY)


@BOTH
@pytest.mark.parametrize("id", [b"2026\x0011", b"2026/11", b"\xff" * 7, b"2026-1\n"])
def test_a_key_id_that_none_can_be_is_corrupt(sealed: SealedEnvelope, id: bytes):
    data = sealed.encode(entry())
    with pytest.raises(CorruptEntry, match="key id is none"):
        sealed.decode(data[:20] + id + data[27:], KEY)


@BOTH
def test_an_entry_that_is_too_large_is_not_sealed(sealed: SealedEnvelope):
    with pytest.raises(EntryTooLarge, match="1 MiB"):
        sealed.encode(entry(tags=("t" * 2**20,)))


def test_no_error_tells_key_or_content():
    data = ENCRYPTED.encode(entry(b"value-canary", key="ns:key-canary"))
    end, middle = bytes([data[-1] ^ 1]), bytes([data[40] ^ 1])
    for damaged in (data[:-1], b"\0" + data[1:], data[:-1] + end, data[:40] + middle + data[41:]):
        with pytest.raises(CorruptEntry) as caught:
            ENCRYPTED.decode(damaged, "ns:key-canary")
        assert "canary" not in f"{caught.value!r} {caught.value} {caught.value.__context__!r}"
