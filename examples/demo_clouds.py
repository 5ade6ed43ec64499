"""The clouds of the demo: for each, a server on this machine, an empty bucket, and what HEADs say, through its SDK."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack, closing
from typing import Any, ClassVar

from tiercache.testing import servers

BUCKET = "demo-embeddings"
PREFIX = "tiercache/"
Heads = dict[str, dict[str, Any]]
"""What a HEAD tells of each object, in the words of S3: ContentLength, ContentType, StorageClass, Metadata."""


class Cloud(ABC):
    """An object store on this machine, with an empty bucket.

    Attributes:
        label: how the demo calls it.
        tier: the name of its tier.
        storage_class: of new objects; not the default, where another one suits small objects that stay for a year.
        kind: the server's name and version.
    """

    label: ClassVar[str]
    tier: ClassVar[str]
    storage_class: ClassVar[str]
    kind: str

    @abstractmethod
    def __init__(self, stack: ExitStack) -> None:
        """Start the server and make the bucket; the stack stops it."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Return the variables from which the backend's `from_env` finds the bucket."""

    @abstractmethod
    def heads(self) -> Heads:
        """Return what a HEAD of every object says, without tiercache."""


class S3(Cloud):
    """Amazon S3: SeaweedFS, or moto's server."""

    label = "S3"
    tier = "s3"
    storage_class = "INTELLIGENT_TIERING"

    def __init__(self, stack: ExitStack) -> None:
        import boto3

        self._server = stack.enter_context(servers.s3_server())
        self.kind = self._server.kind
        self._client = stack.enter_context(
            closing(
                boto3.client(
                    "s3",
                    endpoint_url=self._server.endpoint_url,
                    aws_access_key_id=self._server.access_key,
                    aws_secret_access_key=self._server.secret_key,
                    region_name=self._server.region,
                )
            )
        )
        self._client.create_bucket(Bucket=BUCKET)

    def environment(self) -> dict[str, str]:
        """Return where the bucket is."""
        return {
            "AWS_ACCESS_KEY_ID": self._server.access_key,
            "AWS_SECRET_ACCESS_KEY": self._server.secret_key,
            "AWS_REGION": self._server.region,
            "AWS_ENDPOINT_URL_S3": self._server.endpoint_url,
            "TIERCACHE_S3_BUCKET": BUCKET,
            "TIERCACHE_S3_PREFIX": PREFIX,
            "TIERCACHE_S3_STORAGE_CLASS": self.storage_class,
        }

    def heads(self) -> Heads:
        """Return the answers of `head_object`."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        names = [item["Key"] for page in pages for item in page.get("Contents", ())]
        return {name: dict(self._client.head_object(Bucket=BUCKET, Key=name)) for name in names}


class GCS(Cloud):
    """Google Cloud Storage: fake-gcs-server."""

    label = "GCS"
    tier = "gs"
    storage_class = "NEARLINE"

    def __init__(self, stack: ExitStack) -> None:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import storage

        self._server = stack.enter_context(servers.gcs_server())
        self.kind = self._server.kind
        self._client: Any = stack.enter_context(
            closing(
                storage.Client(
                    project=self._server.project,
                    credentials=AnonymousCredentials(),
                    client_options={"api_endpoint": self._server.endpoint_url},
                )
            )
        )
        self._client.create_bucket(BUCKET)

    def environment(self) -> dict[str, str]:
        """Return where the bucket is."""
        return {
            "STORAGE_EMULATOR_HOST": self._server.endpoint_url,
            "GOOGLE_CLOUD_PROJECT": self._server.project,
            "TIERCACHE_GCS_BUCKET": BUCKET,
            "TIERCACHE_GCS_PREFIX": PREFIX,
            "TIERCACHE_GCS_STORAGE_CLASS": self.storage_class,
        }

    def heads(self) -> Heads:
        """Return the objects' resources."""
        return {
            blob.name: {
                "ContentLength": blob.size,
                "ContentType": blob.content_type,
                "StorageClass": blob.storage_class,
                "Metadata": blob.metadata or {},
            }
            for blob in self._client.list_blobs(BUCKET)
        }


class Azure(Cloud):
    """Azure Blob: Azurite."""

    label = "Azure"
    tier = "az"
    storage_class = "Hot"  # a cooler one bills these objects of 2 KB as 128 KB each

    def __init__(self, stack: ExitStack) -> None:
        from azure.storage.blob import ContainerClient

        self._server = stack.enter_context(servers.azurite_server())
        self.kind = self._server.kind
        self._client: Any = stack.enter_context(
            closing(ContainerClient.from_connection_string(self._server.connection_string, BUCKET))
        )
        self._client.create_container()

    def environment(self) -> dict[str, str]:
        """Return where the container is."""
        return {
            "AZURE_STORAGE_CONNECTION_STRING": self._server.connection_string,
            "TIERCACHE_AZURE_CONTAINER": BUCKET,
            "TIERCACHE_AZURE_PREFIX": PREFIX,
            "TIERCACHE_AZURE_ACCESS_TIER": self.storage_class,
        }

    def heads(self) -> Heads:
        """Return the blobs' properties; Azure's names of metadata have `_` where the others have `-`."""
        blobs = [self._client.get_blob_client(blob.name).get_blob_properties() for blob in self._client.list_blobs()]
        return {
            blob.name: {
                "ContentLength": blob.size,
                "ContentType": blob.content_settings.content_type,
                "StorageClass": blob.blob_tier,
                "Metadata": {name.replace("_", "-"): text for name, text in (blob.metadata or {}).items()},
            }
            for blob in blobs
        }


CLOUDS: dict[str, type[Cloud]] = {"s3": S3, "gcs": GCS, "azure": Azure}
