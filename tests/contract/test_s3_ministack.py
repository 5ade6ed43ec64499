"""The contract, held by `S3Backend` against a server that cannot read archived objects until they are restored."""

import time
import uuid

import boto3
import pytest

from tests.contract.s3 import S3Hooks
from tiercache.testing import ObjectStoreContract
from tiercache.testing.contract_archive import ArchiveCases
from tiercache_s3 import S3Backend


@pytest.fixture(scope="module")
def client(ministack):
    client = boto3.client(
        "s3",
        endpoint_url=ministack.endpoint_url,
        aws_access_key_id=ministack.access_key,
        aws_secret_access_key=ministack.secret_key,
        region_name=ministack.region,
    )
    yield client
    client.close()


class OnMinistack(S3Hooks):
    supports_archive = True
    seconds_later = 0.0

    @pytest.fixture
    def backend(self, ministack, client):
        self.client, self.bucket = client, f"contract-{uuid.uuid4().hex[:12]}"
        self.secrets = (ministack.secret_key,)
        client.create_bucket(Bucket=self.bucket)
        backend = S3Backend(
            self.bucket,
            prefix="tiercache",
            endpoint_url=ministack.endpoint_url,
            access_key_id=ministack.access_key,
            secret_access_key=ministack.secret_key,
            region=ministack.region,
            timeout=30,
            clock=self.now,
        )
        yield backend
        backend.close()

    def now(self):
        return time.time() + self.seconds_later

    def advance(self, seconds):
        self.seconds_later += seconds


class TestArchiveOnMinistack(OnMinistack, ArchiveCases):
    def test_an_entry_that_is_being_restored_is_a_miss_and_served_when_it_is_back(self, backend):
        key = self.archived(backend)
        where = {"Bucket": self.bucket, "Key": self.name_of(backend, key)}
        order = {"Days": 1, "GlacierJobParameters": {"Tier": "Expedited"}}
        self.client.restore_object(**where, RestoreRequest=order)
        assert "true" in self.client.head_object(**where)["Restore"]
        assert (backend.head(key), backend.get(key)) == (None, None)
        until = time.monotonic() + 60
        while "true" in self.client.head_object(**where)["Restore"]:
            assert time.monotonic() < until
        head = backend.head(key)
        assert head is not None
        assert head == backend.get(key).metadata
        assert head.storage_class == "GLACIER"


@pytest.mark.slow
class TestS3OnMinistack(OnMinistack, ObjectStoreContract):
    pass
