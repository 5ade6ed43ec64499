"""Hits in Azure Blob, beside azure-storage-blob."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import l3
from harness import Row, Scale

from tiercache import Backend
from tiercache.testing.servers import azurite_server


class Azure(l3.Store):
    """Azurite."""

    area = "azure"
    bare = "download_blob().readall()"

    def __init__(self, stack: ExitStack) -> None:
        from azure.storage.blob import ContainerClient

        self._server = stack.enter_context(azurite_server())
        self._container: Any = ContainerClient.from_connection_string(self._server.connection_string, l3.BUCKET)
        stack.enter_context(closing(self._container))
        self._container.create_container()

    def backend(self, prefix: str) -> Backend:
        """Return the backend."""
        from tiercache_azure import AzureBlobBackend

        return AzureBlobBackend(l3.BUCKET, prefix=prefix, connection_string=self._server.connection_string, timeout=30)

    def names(self, prefix: str) -> list[str]:
        """Return what is listed."""
        return list(self._container.list_blob_names(name_starts_with=prefix))

    def get(self, name: str) -> bytes:
        """Download."""
        data: bytes = self._container.download_blob(name).readall()
        return data


def rows(scale: Scale) -> Iterator[Row]:
    """Measure."""
    return l3.rows(Azure, scale)
