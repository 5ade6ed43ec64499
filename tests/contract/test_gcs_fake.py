"""The contract, held by `GCSBackend` against fake-gcs-server."""

import json
import time
import uuid
from contextlib import contextmanager

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from tiercache.testing import ObjectStoreContract
from tiercache.testing.contract_object_hooks import Answer, RawObject
from tiercache_gcs import GCSBackend

FORBIDDEN = {
    "code": 403,
    "message": "canary@canary.iam.gserviceaccount.com does not have storage.objects.get access",
    "errors": [{"domain": "global", "reason": "forbidden", "message": "canary"}],
}


@pytest.fixture(scope="module")
def raw_bucket(gcs_server, gcs_bucket):
    options = {"api_endpoint": gcs_server.endpoint_url}
    client = storage.Client(gcs_server.project, AnonymousCredentials(), client_options=options)
    yield client.bucket(gcs_bucket)
    client.close()


class TestGCSOnFakeServer(ObjectStoreContract):
    seconds_later = 0.0
    scan_knows_expiry = True  # a listing tells metadata
    get_tells_class = False  # the server leaves x-goog-storage-class out
    supports_protection = True
    denied_answer = Answer(403, {"Content-Type": "application/json"}, json.dumps({"error": FORBIDDEN}).encode())
    read_permission = "storage.objects.get"
    list_permission = "storage.objects.list"

    @pytest.fixture
    def backend(self, gcs_server, raw_bucket):
        self.raw = raw_bucket
        # A machine under load may pause for longer than the two seconds of everyday use.
        backend = GCSBackend(
            raw_bucket.name,
            prefix=uuid.uuid4().hex,
            endpoint_url=gcs_server.endpoint_url,
            timeout=30,
            clock=self.now,
        )
        yield backend
        backend.close()

    def now(self):
        return time.time() + self.seconds_later

    def advance(self, seconds):
        self.seconds_later += seconds

    def backend_at(self, url):
        return GCSBackend("bucket", endpoint_url=url, timeout=30)

    def raw_object(self, backend, name):
        blob = self.raw.get_blob(name)
        return None if blob is None else RawObject(blob.content_type, blob.metadata or {}, blob.storage_class)

    def raw_body(self, backend, name):
        blob = self.raw.get_blob(name)
        return None if blob is None else blob.download_as_bytes(raw_download=True)

    def raw_put_object(self, backend, name, data):
        self.raw.blob(name).upload_from_string(data)

    def raw_names(self, backend, start):
        return [blob.name for blob in self.raw.list_blobs(prefix=start)]

    @contextmanager
    def protected(self, backend, key):
        blob = self.raw.blob(self.name_of(backend, key))
        blob.temporary_hold = True
        blob.patch()
        yield
        blob.temporary_hold = False
        blob.patch()

    @pytest.mark.parametrize("operation", ["delete_many", "clear"])
    @pytest.mark.xfail(strict=True, reason="fake-gcs-server deletes what is under a hold; Google: 403")
    def test_an_entry_that_cannot_be_deleted_is_named_and_the_others_are_gone(self, backend, operation):
        super().test_an_entry_that_cannot_be_deleted_is_named_and_the_others_are_gone(backend, operation)

    @pytest.mark.xfail(strict=True, reason="fake-gcs-server deletes what is under a hold; Google: 403")
    def test_a_delete_that_the_store_denies_is_an_error(self, backend):
        super().test_a_delete_that_the_store_denies_is_an_error(backend)

    @pytest.mark.xfail(strict=True, reason="fake-gcs-server deletes whatever ifGenerationMatch says; Google: 412")
    def test_a_bulk_delete_with_versions_leaves_what_was_changed(self, backend):
        super().test_a_bulk_delete_with_versions_leaves_what_was_changed(backend)

    @pytest.mark.xfail(strict=True, reason="fake-gcs-server deletes whatever ifGenerationMatch says; Google: 412")
    def test_what_is_written_between_look_and_delete_stays(self, backend):
        super().test_what_is_written_between_look_and_delete_stays(backend)

    @pytest.mark.skip("fake-gcs-server deletes whatever ifGenerationMatch says: who wins this race is chance")
    def test_machines_that_sweep_while_others_write_lose_nothing_that_is_fresh(self, backend):
        pass

    @pytest.mark.xfail(strict=True, reason="fake-gcs-server sends no x-goog-storage-class with a body; Google does")
    def test_the_class_that_the_backend_reports_is_the_objects(self, backend):
        super().test_the_class_that_the_backend_reports_is_the_objects(backend)
