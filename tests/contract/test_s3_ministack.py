"""The contract, held by `S3Backend` against a server that cannot read archived objects until they are restored."""

import time
import uuid

import boto3
import pytest

from tests.contract.s3 import S3Contract
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


class OnMinistack(S3Contract):
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


class TestArchiveOnMinistack(OnMinistack):
    """These in every run, the others in the long ones."""


for name in dir(S3Contract):
    if name.startswith("test_") and not hasattr(ArchiveCases, name):
        setattr(TestArchiveOnMinistack, name, None)


@pytest.mark.slow
class TestS3OnMinistack(OnMinistack):
    pass
