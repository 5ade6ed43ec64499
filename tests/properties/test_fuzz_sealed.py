"""Damaged sealed envelopes, as `test_fuzz` makes them: none decodes to another value, whoever made them.

What `test_fuzz` damages and tags again, is sealed again here with the key of the ring: as if somebody who has the key
were hostile, or the code that writes were wrong.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable

import msgspec
import pytest

from tests.properties import raw, test_fuzz
from tests.properties.scale import SCALE
from tests.properties.test_fuzz import ENTRIES, KEYS, MAX_PAYLOAD
from tiercache import KeyRing, codec, envelope
from tiercache.errors import CorruptEntry, UnknownFormat
from tiercache.sealing import sealed as sealing
from tiercache.sealing.sealed import SealedEnvelope

EACH = 5_000 * SCALE
SECRET = os.urandom(32)
SEALED = {
    "keyed": SealedEnvelope(KeyRing({"k1": SECRET}, encrypt=False)),
    "encrypted": SealedEnvelope(KeyRing({"k1": SECRET})),
}
ENVELOPES = {kind: [sealed.encode(entry) for entry in ENTRIES] for kind, sealed in SEALED.items()}
KINDS = pytest.mark.parametrize("kind", SEALED)
UNTAGGED = ["flipped bits", "truncated", "inserted or cut out", "other lengths"]
TAGGED = sorted(set(test_fuzz.MUTATORS) - set(UNTAGGED) - {"spliced"})


def other_start(rng: random.Random, data: bytes) -> bytes:
    """Another version, flags or length of the key id; another key id."""
    start = bytearray(data)
    where, what = rng.choice(((4, 1), (5, 1), (6, 2), (20, 2)))
    start[where : where + what] = rng.randbytes(what)
    return bytes(start)


def other_flags(rng: random.Random, data: bytes) -> bytes:
    """Flags of a weaker or another envelope, with a tag of an attacker or none."""
    flags, id_size = rng.choice(((0, 0), (1, 2), (3, 2), (2, 2), (0, 2)))
    body = data[:5] + struct.pack(">BH", flags, id_size) + data[8:-32]
    return rng.choice((raw.tagged(body), body + data[-32:]))


def spliced(rng: random.Random, data: bytes) -> bytes:
    other = rng.choice([one for group in ENVELOPES.values() for one in group])
    at = rng.randrange(len(data))
    return data[:at] + other[rng.choice((at, rng.randrange(len(other)))) :]


MUTATORS: dict[str, Callable[[random.Random, bytes], bytes]] = {
    **{name: test_fuzz.MUTATORS[name] for name in UNTAGGED},
    "other start": other_start,
    "other flags": other_flags,
    "spliced": spliced,
}


@KINDS
@pytest.mark.parametrize("mutation", MUTATORS)
def test_a_damaged_sealed_envelope_is_a_miss(kind: str, mutation: str):
    refused = 0
    for number in range(EACH):
        rng = random.Random(f"{mutation} {number}")
        index = number % len(ENTRIES)
        intact = ENVELOPES[kind][index]
        data = MUTATORS[mutation](rng, intact)
        try:
            entry = SEALED[kind].decode(data, KEYS[index], max_payload=MAX_PAYLOAD)
        except CorruptEntry:
            refused += 1
        else:
            # Keyed, the ring reads what is encrypted as well: that of the same key, whole.
            assert data in {intact, ENVELOPES["encrypted"][index]}, f"{mutation} {number} decoded"
            assert entry.payload == ENTRIES[index].payload
    assert refused > EACH // 2


@KINDS
@pytest.mark.parametrize("mutation", TAGGED)
def test_what_somebody_with_the_key_made_up_is_corrupt_or_an_entry_of_its_key(kind: str, mutation: str):
    sealed, outcomes = SEALED[kind], {"refused": 0, "decoded": 0}
    make = sealing._encrypted if sealed.keys.encrypt else sealing._tagged
    for number in range(EACH // 4):
        index, plain = test_fuzz.damaged(mutation, number)
        header, stored = raw.parts(plain)
        try:
            data = make(sealed.keys.writing, KEYS[index], header, stored)
            entry = sealed.decode(data, KEYS[index], max_payload=MAX_PAYLOAD)
            assert entry.metadata.key == KEYS[index]
            codec.decode(entry.payload, entry.metadata.codec, None)
        except (CorruptEntry, UnknownFormat):
            outcomes["refused"] += 1
        else:
            outcomes["decoded"] += 1
    assert min(outcomes.values()) > EACH // 400


@KINDS
def test_damage_costs_no_memory(kind: str):
    mutants = []
    for number in range(0, EACH, 25):
        for mutation, mutate in MUTATORS.items():
            index = number % len(ENTRIES)
            mutants.append((index, mutate(random.Random(f"{mutation} {number}"), ENVELOPES[kind][index])))

    def read(index: int, data: bytes) -> None:
        try:
            SEALED[kind].decode(data, KEYS[index], max_payload=MAX_PAYLOAD)
        except CorruptEntry:
            return

    for mutant in mutants[:30]:
        read(*mutant)
    with raw.peak() as memory:
        for mutant in mutants:
            read(*mutant)
    assert memory.bytes < 4 * MAX_PAYLOAD


@KINDS
def test_every_pair_of_swapped_envelopes_is_a_miss(kind: str):
    for index, data in enumerate(ENVELOPES[kind]):
        for other, key in enumerate(KEYS):
            if other != index:
                with pytest.raises(CorruptEntry):
                    SEALED[kind].decode(data, key)


@KINDS
def test_the_originals_are_intact(kind: str):
    for entry, data in zip(ENTRIES, ENVELOPES[kind], strict=True):
        back = SEALED[kind].decode(data, entry.metadata.key)
        assert back.payload == entry.payload
        assert msgspec.structs.replace(
            back.metadata, encoding="", size=0, stored_size=None, etag=None, key_id=None
        ) == msgspec.structs.replace(entry.metadata, size=0)
        assert envelope.etag(data) == back.metadata.etag
