"""`GCSBackend` on gcp-storage-emulator, a second opinion: it keeps lifecycle rules, and answers batches as Google does.

It ignores every precondition, pages of a listing and more than a few clients at a time, so it cannot hold the contract.
"""

from __future__ import annotations

import uuid

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from tests.test_gcs import entry
from tiercache.testing import servers
from tiercache_gcs import GCSBackend

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def emulator():
    try:
        with servers.gcp_storage_emulator() as server:
            yield server
    except servers.ServerUnavailable as unavailable:
        pytest.skip(str(unavailable))


@pytest.fixture
def bucket(emulator):
    """An empty bucket, through the SDK."""
    options = {"api_endpoint": emulator.endpoint_url}
    client = storage.Client(emulator.project, AnonymousCredentials(), client_options=options)
    yield client.create_bucket(f"bucket-{uuid.uuid4().hex[:12]}")
    client.close()


@pytest.fixture
def backend(emulator, bucket):
    backend = GCSBackend(bucket.name, prefix="p", endpoint_url=emulator.endpoint_url, timeout=60, max_concurrency=1)
    yield backend
    backend.close()


def test_an_entry_is_written_read_described_listed_and_deleted(backend):
    backend.put("a/b", entry("a/b", tags=("t",), attributes={"größe": 1}))
    assert backend.get("a/b").payload == b"payload"
    assert backend.head("a/b").attributes == {"größe": 1}
    assert [key for key, _ in backend.scan()] == ["a/b"]
    assert backend.delete("a/b") is True
    assert backend.get("a/b") is None


def test_a_batch_deletes_what_is_there_and_minds_nothing_that_is_not(backend):
    backend.put("a", entry("a"))
    backend.put("b", entry("b"))
    assert backend.delete_many(["a", "absent", "b"]) == 3
    assert list(backend.scan()) == []


def test_the_class_and_the_custom_time_stand_on_the_object(emulator, bucket):
    with_class = GCSBackend(bucket.name, endpoint_url=emulator.endpoint_url, storage_class="ARCHIVE", timeout=60)
    with_class.put("k", entry("k", expires_at=2e9))
    blob = bucket.get_blob("k")
    assert (blob.storage_class, blob.custom_time.timestamp()) == ("ARCHIVE", 2e9)
    with_class.close()


def test_a_sweep_deletes_what_is_expired(backend):
    backend.put("old", entry("old", expires_at=1.0))
    backend.put("new", entry("new"))
    assert backend.sweep().deleted == 1
    assert [key for key, _ in backend.scan()] == ["new"]


def test_the_lifecycle_rule_is_kept_by_a_server_beside_that_of_another(backend, bucket):
    bucket.add_lifecycle_delete_rule(age=7, matches_prefix=["logs/"])
    bucket.patch()
    assert backend.apply_lifecycle().applied
    assert not backend.apply_lifecycle()
    bucket.reload()
    assert [dict(rule) for rule in bucket.lifecycle_rules] == [
        {"action": {"type": "Delete"}, "condition": {"age": 7, "matchesPrefix": ["logs/"]}},
        {"action": {"type": "Delete"}, "condition": {"daysSinceCustomTime": 0, "matchesPrefix": ["p/"]}},
    ]
