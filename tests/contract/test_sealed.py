"""The contract holds with keys, too: on disk, in Redis and in an object store, whose stored bytes are sealed."""

from __future__ import annotations

import os

import pytest

from tests.contract import test_azure_azurite, test_disk, test_gcs_fake, test_packed_moto, test_redis, test_s3_moto
from tests.contract.test_azure_azurite import raw_container
from tests.contract.test_gcs_fake import raw_bucket
from tests.contract.test_s3_moto import aws
from tiercache import KeyRing
from tiercache.sealing.sealed import SealedEnvelope, seal

__all__ = ["aws", "raw_bucket", "raw_container"]  # fixtures

RING = KeyRing({"2026-11": os.urandom(32)})
TAGGED = KeyRing({"2026-11": os.urandom(32)}, encrypt=False)


def sealed(ring):
    """The backend of another contract test, with keys."""

    @pytest.fixture
    def backend(self, request):
        made = request.getfixturevalue("unsealed")
        seal([made], ring)
        return made

    return backend


class SealedCases:
    def test_an_entry_promoted_from_another_tier_is_stored_as_the_bytes_that_were_read(self, backend):
        key, other = self.key(), SealedEnvelope(backend.envelope.keys)
        wire = other.encode(self.entry(key, b"text " * 1000, ttl=3600))
        backend.put(key, other.decode(wire, key))
        assert self.raw_get(backend, key) == wire


class TestEncryptedDisk(SealedCases, test_disk.TestDisk):
    unsealed = test_disk.TestDisk.backend
    backend = sealed(RING)


@pytest.mark.slow
class TestTaggedDisk(SealedCases, test_disk.TestDisk):
    unsealed = test_disk.TestDisk.backend
    backend = sealed(TAGGED)


@pytest.mark.slow
class TestEncryptedRedis(SealedCases, test_redis.TestRedis):
    unsealed = test_redis.TestRedis.backend
    backend = sealed(RING)


@pytest.mark.slow
class TestEncryptedPacked(SealedCases, test_packed_moto.TestPackedOnMoto):
    unsealed = test_packed_moto.TestPackedOnMoto.backend
    backend = sealed(RING)


@pytest.mark.slow
class TestTaggedPacked(SealedCases, test_packed_moto.TestPackedOnMoto):
    unsealed = test_packed_moto.TestPackedOnMoto.backend
    backend = sealed(TAGGED)


class SealedObjectCases(SealedCases):
    def test_a_head_beside_the_backend_tells_what_the_entry_is(self, backend):
        """Times and size, which a lifecycle rule and a sweep go by; nothing of what is encrypted."""
        key = self.key()
        entry = self.entry(key, b"words " * 1000, ttl=3600, codec="msgpack", tags=("t",), attributes={"model": "m"})
        backend.put(key, entry)
        told = self.head_of(backend, key).metadata
        assert told.keys() == {"tiercache-version", "key-digest", "size", "created", "expires", "key-id", "omitted"}
        assert (told["key-id"], told["omitted"]) == ("2026-11", "codec,encoding,tags,attributes")
        head = backend.head(key)
        assert (head.codec, head.tags, head.attributes) == ("msgpack", ("t",), {"model": "m"})

    def test_the_largest_mirror_is_stored_and_one_character_more_is_cut(self, backend):
        """No mirror is believed: `head` is one request, and tells all, whatever the size."""
        key = self.key()
        for entry in self.largest(backend, key):
            assert backend.put(key, entry) is True
            with self.sent(backend) as requests:
                head = backend.head(key)
            assert (head.attributes, len(requests)) == (entry.metadata.attributes, 1)

    def check_winner(self, backend, key, winners):
        """Exactly one won; payload and metadata are its (the mirror tells neither tags nor attributes)."""
        (winner,) = winners
        expected, got = self.written_by(key, winner), backend.get(key)
        assert (got.payload, got.metadata.tags) == (expected.payload, expected.metadata.tags)
        assert self.as_got(backend.head(key)) == got.metadata


@pytest.mark.slow
class TestEncryptedS3OnMoto(SealedObjectCases, test_s3_moto.TestS3OnMoto):
    unsealed = test_s3_moto.TestS3OnMoto.backend
    backend = sealed(RING)


@pytest.mark.slow
class TestEncryptedGCS(SealedObjectCases, test_gcs_fake.TestGCSOnFakeServer):
    scan_knows_expiry = False  # what a listing tells has no tag
    unsealed = test_gcs_fake.TestGCSOnFakeServer.backend
    backend = sealed(RING)


@pytest.mark.slow
class TestEncryptedAzure(SealedObjectCases, test_azure_azurite.TestAzureOnAzurite):
    scan_knows_expiry = False  # what a listing tells has no tag
    unsealed = test_azure_azurite.TestAzureOnAzurite.backend
    backend = sealed(RING)
