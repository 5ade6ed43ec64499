"""S3 against moto, in this process: quick, and without a server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from tiercache import keys
from tiercache.testing import BackendContract
from tiercache_s3 import S3Backend

SECRET = "canary-of-the-secret-key"


class TestS3OnMoto(BackendContract):
    secrets = (SECRET,)
    scan_knows_expiry = False
    many = 1100
    operations_per_thread = 20

    @pytest.fixture
    def raw(self) -> Iterator[Any]:
        with mock_aws():
            client = boto3.client(
                "s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key=SECRET
            )
            client.create_bucket(Bucket="bucket")
            yield client

    @pytest.fixture
    def backend(self, raw: Any, clock: Any) -> Iterator[S3Backend]:
        self.raw, self.clock = raw, clock
        # Not two seconds: moto answers in this process, and the machine may be busy.
        backend = S3Backend(
            "bucket",
            prefix="tiercache/",
            region="us-east-1",
            access_key_id="test",
            secret_access_key=SECRET,
            timeout=60,
            clock=clock,
        )
        yield backend
        backend.close()

    def now(self) -> float:
        return self.clock.now

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def raw_get(self, backend: S3Backend, key: str) -> bytes | None:
        try:
            return self.raw.get_object(Bucket="bucket", Key="tiercache/" + keys.object_name(key))["Body"].read()
        except ClientError:
            return None

    def raw_put(self, backend: S3Backend, key: str, data: bytes) -> None:
        self.raw.put_object(Bucket="bucket", Key="tiercache/" + keys.object_name(key), Body=data)
