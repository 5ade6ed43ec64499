"""Where the test servers are, as the environment of a command says it."""

from __future__ import annotations

import boto3

from tiercache.testing.servers import AzureServer, GCSServer, S3Server


def of_s3(server: S3Server, **changes: str) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_REGION": server.region,
        "AWS_ENDPOINT_URL": server.endpoint_url,
        **changes,
    }


def of_gcs(server: GCSServer) -> dict[str, str]:
    return {"STORAGE_EMULATOR_HOST": server.endpoint_url}


def of_azure(server: AzureServer) -> dict[str, str]:
    return {"AZURE_STORAGE_CONNECTION_STRING": server.connection_string}


def s3_client(server: S3Server):
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint_url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name=server.region,
    )


def names_in(client, bucket: str, prefix: str) -> list[str]:
    return [item["Key"] for item in client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ())]
