"""Hits in S3, beside boto3."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

import l3
from harness import Row, Scale

from tiercache import Backend
from tiercache.testing.servers import s3_server


class S3(l3.Store):
    """SeaweedFS, or moto's server."""

    area = "s3"
    bare = "boto3 get_object"

    def __init__(self, stack: ExitStack) -> None:
        import boto3

        self._server = server = stack.enter_context(s3_server())
        client = boto3.client(
            "s3",
            endpoint_url=server.endpoint_url,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            region_name=server.region,
        )
        self._client = stack.enter_context(closing(client))
        client.create_bucket(Bucket=l3.BUCKET)

    def backend(self, prefix: str) -> Backend:
        """Return the backend."""
        from tiercache_s3 import S3Backend

        return S3Backend(
            l3.BUCKET,
            prefix=prefix,
            endpoint_url=self._server.endpoint_url,
            access_key_id=self._server.access_key,
            secret_access_key=self._server.secret_key,
            region=self._server.region,
            timeout=30,
        )

    def names(self, prefix: str) -> list[str]:
        """Return what is listed."""
        return [item["Key"] for item in self._client.list_objects_v2(Bucket=l3.BUCKET, Prefix=prefix)["Contents"]]

    def get(self, name: str) -> bytes:
        """GetObject."""
        return self._client.get_object(Bucket=l3.BUCKET, Key=name)["Body"].read()


def rows(scale: Scale) -> Iterator[Row]:
    """Measure."""
    return l3.rows(S3, scale)
