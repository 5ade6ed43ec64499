"""Segments of sealed entries: what an index says is open, what an entry holds is not, and keys come and go."""

from __future__ import annotations

import os

import pytest

from tests.packed.objects import entry, packed
from tiercache import KeyRing
from tiercache.errors import NotSealed, PartialFailure, UnknownKey
from tiercache.sealing.sealed import seal

OLD, NEW = os.urandom(32), os.urandom(32)


def sealed(objects, keys=None, **options):
    backend = packed(objects, durable=True)
    if keys is not None:
        seal([backend], KeyRing(keys, **options))
    return backend


def test_what_is_encrypted_stands_in_no_segment(objects):
    backend = sealed(objects, {"old": OLD})
    backend.put("n:1", entry("n:1", b"private words", codec="secret-codec", tags=("secret-tag",)))
    assert backend.get("n:1").payload == b"private words"
    stored = b"".join(objects.bodies.values())
    assert not any(word in stored for word in (b"private", b"secret-codec", b"secret-tag"))


@pytest.mark.parametrize("encrypt", [True, False])
def test_an_entry_of_an_unknown_key_is_no_value_and_is_left_to_those_who_have_it(objects, encrypt):
    sealed(objects, {"old": OLD}, encrypt=encrypt).put("n:1", entry("n:1"))
    other = sealed(objects, {"new": NEW}, encrypt=encrypt)
    with pytest.raises(UnknownKey):
        other.get("n:1")
    with pytest.raises(PartialFailure) as caught:
        other.get_many(["n:1"])
    assert [type(error) for error in caught.value.failed.values()] == [UnknownKey]
    assert list(other.scan(full=True)) == []
    assert other.put("n:1", entry("n:1", b"ours"), if_absent=True) is False
    assert sealed(objects, {"old": OLD}, encrypt=encrypt).get("n:1").payload == b"payload"


@pytest.mark.parametrize("encrypt", [True, False])
def test_keys_are_rotated(objects, encrypt):
    sealed(objects, {"old": OLD}, encrypt=encrypt).put("n:1", entry("n:1", b"of the old key"))
    both = sealed(objects, {"old": OLD, "new": NEW}, active="new", encrypt=encrypt)
    assert both.get("n:1").payload == b"of the old key"
    both.put("n:2", entry("n:2", b"of the new key"))
    both.put("n:1", both.get("n:1"))
    after = sealed(objects, {"new": NEW}, encrypt=encrypt)
    assert after.get("n:2").payload == b"of the new key"


def test_what_was_stored_in_plain_text_is_no_value_where_keys_ask_for_sealed(objects):
    sealed(objects).put("n:1", entry("n:1"))
    backend = sealed(objects, {"new": NEW})
    with pytest.raises(NotSealed):
        backend.get("n:1")
    assert backend.put("n:1", entry("n:1", b"sealed")) is True
    assert backend.get("n:1").payload == b"sealed"


def test_a_backend_without_keys_reads_no_sealed_entry(objects):
    sealed(objects, {"old": OLD}).put("n:1", entry("n:1"))
    with pytest.raises(UnknownKey):
        sealed(objects).get("n:1")


def test_what_is_sealed_can_be_deleted_without_its_key(objects):
    sealed(objects, {"old": OLD}).put("n:1", entry("n:1"))
    assert sealed(objects, {"new": NEW}).delete("n:1") is True
    assert sealed(objects, {"old": OLD}).get("n:1") is None
