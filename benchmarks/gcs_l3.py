"""Hits in Google Cloud Storage, beside google-cloud-storage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import l3
from harness import Row, Scale

from tiercache import Backend
from tiercache.testing.servers import fake_gcs_server


class GCS(l3.Store):
    """fake-gcs-server."""

    area = "gcs"
    bare = "Blob.download_as_bytes"

    def __init__(self, stack: ExitStack) -> None:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        self._server = stack.enter_context(fake_gcs_server())
        client: Any = storage.Client(
            project=self._server.project,
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": self._server.endpoint_url},
        )
        stack.enter_context(closing(client))
        self._bucket = client.create_bucket(l3.BUCKET)

    def backend(self, prefix: str) -> Backend:
        """Return the backend."""
        from tiercache_gcs import GCSBackend

        return GCSBackend(l3.BUCKET, prefix=prefix, endpoint_url=self._server.endpoint_url, anonymous=True, timeout=30)

    def names(self, prefix: str) -> list[str]:
        """Return what is listed."""
        return [blob.name for blob in self._bucket.list_blobs(prefix=prefix)]

    def get(self, name: str) -> bytes:
        """Download, raw as we do."""
        data: bytes = self._bucket.blob(name).download_as_bytes(raw_download=True)
        return data


def rows(scale: Scale) -> Iterator[Row]:
    """Measure."""
    return l3.rows(GCS, scale)
