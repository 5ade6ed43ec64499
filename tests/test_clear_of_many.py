"""Clearing 10,000 objects on real servers: bulk deletes of the vendor's size, and a listing. In `make test-all`."""

from __future__ import annotations

import uuid
from collections import Counter
from unittest import mock

import pytest
from urllib3.connectionpool import HTTPConnectionPool

from tiercache.entry import Entry, Metadata
from tiercache_azure import AzureBlobBackend
from tiercache_gcs import GCSBackend
from tiercache_s3 import S3Backend

MANY = 10_000
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(params=["s3", "gcs", "azure"])
def backend(request):
    """A backend below a prefix of its own, patient with a busy machine."""
    options = {"prefix": uuid.uuid4().hex, "timeout": 60}
    if request.param == "s3":
        server, bucket = request.getfixturevalue("s3_server"), request.getfixturevalue("s3_bucket")
        backend = S3Backend(
            bucket,
            endpoint_url=server.endpoint_url,
            access_key_id=server.access_key,
            secret_access_key=server.secret_key,
            region=server.region,
            **options,
        )
    elif request.param == "gcs":
        server, bucket = request.getfixturevalue("gcs_server"), request.getfixturevalue("gcs_bucket")
        backend = GCSBackend(bucket, endpoint_url=server.endpoint_url, anonymous=True, **options)
    else:
        server, container = request.getfixturevalue("azure_server"), request.getfixturevalue("azure_container")
        backend = AzureBlobBackend(container, connection_string=server.connection_string, **options)
    yield backend
    backend.close()


def test_ten_thousand_objects_go_with_bulk_deletes(backend):
    keys = [f"key-{number:05}" for number in range(MANY)]
    backend.put_many({key: Entry(b"x", Metadata(key=key, created_at=1_700_000_000.0, size=1)) for key in keys})
    sent, send = Counter(), HTTPConnectionPool.urlopen

    def count(pool, method, *args, **options):
        sent[method] += 1
        return send(pool, method, *args, **options)

    with mock.patch.object(HTTPConnectionPool, "urlopen", count):
        assert backend.clear() == MANY
    deletes = sent["POST"] + sent["DELETE"]
    # One more for each page of a listing whose end is not the end of a bulk delete.
    assert deletes <= -(-MANY // backend.objects.bulk_delete) + sent["GET"]
    if backend.scheme == "s3":
        assert deletes <= 20
    assert list(backend.scan()) == []
