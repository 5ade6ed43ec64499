"""The contract, held by `GCSBackend` against fake-gcs-server."""

import time
import uuid

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from tiercache import keys
from tiercache.testing import BackendContract
from tiercache_gcs import GCSBackend


@pytest.fixture(scope="module")
def raw_bucket(gcs_server, gcs_bucket):
    options = {"api_endpoint": gcs_server.endpoint_url}
    client = storage.Client(gcs_server.project, AnonymousCredentials(), client_options=options)
    yield client.bucket(gcs_bucket)
    client.close()


class TestGCSOnFakeServer(BackendContract):
    many = 1100  # a listing answers in pages of 1,000
    seconds_later = 0.0

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

    def raw_get(self, backend, key):
        blob = self.raw.get_blob(backend.prefix + keys.object_name(key))
        return None if blob is None else blob.download_as_bytes(raw_download=True)

    def raw_put(self, backend, key, data):
        self.raw.blob(backend.prefix + keys.object_name(key)).upload_from_string(data)
