"""The contract, held by `S3Backend` against a real server."""

import time
import uuid

import boto3
import pytest

from tests.contract.s3 import S3Contract
from tiercache_s3 import S3Backend

BUCKET = f"contract-{uuid.uuid4().hex[:12]}"  # one for all: each bucket of SeaweedFS takes volumes of its own


@pytest.fixture(scope="module")
def client(s3_server):
    client = boto3.client(
        "s3",
        endpoint_url=s3_server.endpoint_url,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret_key,
        region_name=s3_server.region,
    )
    client.create_bucket(Bucket=BUCKET)
    yield client
    client.close()


class TestS3OnSeaweedFS(S3Contract):
    supports_protection = True
    seconds_later = 0.0

    @pytest.fixture
    def backend(self, s3_server, client):
        self.client, self.bucket = client, BUCKET
        self.secrets = (s3_server.secret_key,)
        # A machine under load may pause for longer than the two seconds of everyday use.
        backend = S3Backend(
            BUCKET,
            prefix=uuid.uuid4().hex,
            endpoint_url=s3_server.endpoint_url,
            access_key_id=s3_server.access_key,
            secret_access_key=s3_server.secret_key,
            region=s3_server.region,
            timeout=30,
            clock=self.now,
        )
        yield backend
        backend.close()

    def now(self):
        return time.time() + self.seconds_later

    def advance(self, seconds):
        self.seconds_later += seconds
