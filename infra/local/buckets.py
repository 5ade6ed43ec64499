"""The buckets of the servers for development, made with each vendor's SDK from the variables that name them."""

from __future__ import annotations

from collections.abc import Mapping

import boto3
from azure.core.exceptions import AzureError
from azure.storage.blob import ContainerClient
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from google.api_core.exceptions import GoogleAPIError
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from requests import RequestException

FAULTS = (BotoCoreError, ClientError, GoogleAPIError, RequestException, AzureError)
"""What the SDKs raise when a server does not answer, or refuses."""


def make_buckets(variables: Mapping[str, str]) -> None:
    """Make the bucket or container of each object store that is named; one that is there is left alone."""
    if "TIERCACHE_S3_BUCKET" in variables:
        _in_s3(variables)
    if "TIERCACHE_GCS_BUCKET" in variables:
        _in_gcs(variables)
    if "TIERCACHE_AZURE_CONTAINER" in variables:
        _in_azure(variables)


def _in_s3(variables: Mapping[str, str]) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=variables["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
        region_name=variables["AWS_REGION"],
        config=Config(retries={"total_max_attempts": 1}),
    )
    name = variables["TIERCACHE_S3_BUCKET"]
    if name not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket=name)
    client.close()


def _in_gcs(variables: Mapping[str, str]) -> None:
    options = {"api_endpoint": variables["STORAGE_EMULATOR_HOST"]}
    client = storage.Client(variables["GOOGLE_CLOUD_PROJECT"], AnonymousCredentials(), client_options=options)
    name = variables["TIERCACHE_GCS_BUCKET"]
    if not client.bucket(name).exists(retry=None):
        client.create_bucket(name, retry=None)
    client.close()


def _in_azure(variables: Mapping[str, str]) -> None:
    connection, name = variables["AZURE_STORAGE_CONNECTION_STRING"], variables["TIERCACHE_AZURE_CONTAINER"]
    with ContainerClient.from_connection_string(connection, name, retry_total=0) as client:
        if not client.exists():
            client.create_container()
