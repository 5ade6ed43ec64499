"""What packed segments promise of requests, denials, archives and foreign objects, in each store."""

from __future__ import annotations

import threading
import time
from contextlib import closing, contextmanager
from typing import ClassVar

import pytest

from tests.contract import test_azure_azurite, test_gcs_fake, test_s3_seaweedfs
from tests.contract.packed import PackedHooks
from tests.contract.s3 import S3Hooks
from tests.contract.test_azure_azurite import raw_container
from tests.contract.test_gcs_fake import raw_bucket
from tests.contract.test_packed_azurite import OnAzurite
from tests.contract.test_packed_gcs import OnFakeServer
from tests.contract.test_packed_moto import OnMoto
from tests.contract.test_packed_seaweedfs import OnSeaweedFS
from tests.contract.test_s3_moto import aws
from tests.contract.test_s3_seaweedfs import client
from tiercache.errors import AccessDenied
from tiercache.packed import PackedBackend
from tiercache.packed.naming import FOLDER, KEEP, SegmentName, new_ulid, object_name
from tiercache.testing import ObjectStoreHooks
from tiercache.testing.contract_denied import _answering

__all__ = ["aws", "client", "raw_bucket", "raw_container"]  # fixtures


class StoreCases(PackedHooks, ObjectStoreHooks):
    options: ClassVar = {}

    def elsewhere(self, backend):
        """Another process's backend."""
        return PackedBackend(self.sibling(backend.inner, backend.inner.prefix))

    def test_a_batch_is_one_put_a_hit_one_get_and_a_miss_no_request(self, backend):
        keys = self.keys(1000)
        backend.refresh()
        with self.sent(backend) as requests:
            backend.put_many({key: self.entry(key, key.encode()) for key in keys})
            backend.flush()
        assert requests == ["PUT"]
        with self.sent(backend) as requests:
            assert self.payload(backend, keys[7]) == keys[7].encode()
        assert requests == ["GET"]
        with self.sent(backend) as requests:
            assert len(backend.get_many(keys)) == 1000
        assert requests == ["GET"]
        with self.sent(backend) as requests:
            assert backend.get(self.key("absent")) is None
            assert backend.get_many([self.key("absent"), self.key("other")]) == {}
        assert requests == []

    def test_another_process_lists_once_and_reads_the_tail_of_each_segment(self, backend):
        keys = self.keys(100)
        for start in (0, 50):
            backend.put_many({key: self.entry(key) for key in keys[start : start + 50]})
            backend.flush()
        other = self.elsewhere(backend)
        with self.sent(backend) as requests:
            assert other.get(self.key("absent")) is None
        assert requests == ["GET"] * 3

    def test_a_delete_of_many_is_one_put(self, backend):
        keys = self.keys(1000)
        backend.put_many({key: self.entry(key) for key in keys})
        backend.flush()
        with self.sent(backend) as requests:
            assert backend.delete_many(keys) == 1000
        assert requests == ["PUT"]
        assert self.elsewhere(backend).get_many(keys) == {}

    def test_a_clear_reads_the_keys_of_each_segment_and_is_one_put(self, backend):
        keys = self.keys(2200)
        for start in (0, 1100):
            backend.put_many({key: self.entry(key) for key in keys[start : start + 1100]})
            backend.flush()
        with self.sent(backend) as requests:
            assert backend.clear(self.prefix) == 2200
        assert sorted(requests) == ["GET", "GET", "PUT"]
        assert list(self.elsewhere(backend).scan()) == []

    def test_foreign_objects_among_the_segments_are_survived(self, backend):
        key, start = self.key(), backend.inner.prefix + FOLDER
        self.store(backend, key)
        backend.flush()
        foreign = {
            f"{start}readme.txt": b"theirs",
            f"{start}keep/readme": b"theirs",
            f"{start}keep/{new_ulid(time.time())}-1": b"theirs",
            object_name(backend.inner.prefix, SegmentName(KEEP, new_ulid(time.time()), 3, 198)): b"theirs" * 1000,
            object_name(backend.inner.prefix, SegmentName(KEEP, new_ulid(time.time()), 3, 198)): b"short",
            object_name(backend.inner.prefix, SegmentName(KEEP, new_ulid(time.time()), 1, 130)): b"",
        }
        for name, data in foreign.items():
            self.raw_put_object(backend.inner, name, data)
        other = self.elsewhere(backend)
        assert self.payload(other, key) == key.encode()
        assert [found for found, _ in other.scan()] == [key]
        assert other.clear() == 1
        assert set(foreign) <= set(self.raw_names(backend.inner, start))


class DeniedCases:
    def test_what_is_denied_says_so_and_tells_no_key(self):
        with _answering(self.denied_answer) as server:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            with closing(PackedBackend(self.backend_at(f"http://127.0.0.1:{server.server_port}"))) as backend:
                key = self.key("confidential")
                for operation in (
                    lambda: backend.get(key),
                    lambda: backend.put(key, self.entry(key)),
                    lambda: backend.delete(key),
                    lambda: list(backend.scan()),
                    lambda: backend.clear(),
                    lambda: backend.ping(),
                ):
                    with self.sent(backend) as requests, pytest.raises(AccessDenied) as caught:
                        operation()
                    assert len(requests) == 1
                    assert "confidential" not in str(caught.value)
            server.shutdown()


class ArchiveCases:
    def test_an_archived_segment_is_a_miss_until_it_is_written_again(self, backend):
        key = self.key()
        self.store(backend, key)
        backend.flush()
        for name in self.raw_names(backend.inner, backend.inner.prefix + FOLDER):
            self.archive_object(name)
        for reader in (backend, self.elsewhere(backend)):
            assert reader.get(key) is None
            assert reader.get_many([key]) == {}
            assert list(reader.scan()) == []
        self.advance(1)  # what was stamped in the same millisecond may be hidden by what is archived
        self.store(backend, key)
        backend.flush()
        assert self.payload(self.elsewhere(backend), key) == key.encode()


class TestOnSeaweedFS(OnSeaweedFS, StoreCases, DeniedCases):
    denied_answer = test_s3_seaweedfs.TestS3OnSeaweedFS.denied_answer
    backend_at = S3Hooks.backend_at


class TestOnFakeGCS(OnFakeServer, StoreCases, DeniedCases):
    denied_answer = test_gcs_fake.TestGCSOnFakeServer.denied_answer
    backend_at = test_gcs_fake.TestGCSOnFakeServer.backend_at

    @contextmanager
    def sent(self, backend):
        with super().sent(backend) as requests:
            methods = []
            try:
                yield methods
            finally:
                methods += ["PUT" if method == "POST" else method for method in requests]  # Google's uploads are POSTs


class TestOnAzurite(OnAzurite, StoreCases, DeniedCases, ArchiveCases):
    denied_answer = test_azure_azurite.TestAzureOnAzurite.denied_answer
    backend_at = test_azure_azurite.TestAzureOnAzurite.backend_at

    def archive_object(self, name):
        from azure.storage.blob import StandardBlobTier

        self.raw.set_standard_blob_tier_blobs(StandardBlobTier.ARCHIVE, name)


class TestOnMoto(OnMoto, ArchiveCases, PackedHooks, ObjectStoreHooks):
    options: ClassVar = {}
    elsewhere = StoreCases.elsewhere

    def archive_object(self, name):
        source = {"Bucket": self.bucket, "Key": name}
        self.client.copy_object(Bucket=self.bucket, Key=name, CopySource=source, StorageClass="GLACIER")
