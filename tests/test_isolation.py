"""Tests see no credentials and no servers of the machine they run on."""

import os
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import DefaultAzureCredential
from botocore.exceptions import NoCredentialsError

ROOT = Path(__file__).parent.parent


@pytest.fixture
def no_network(monkeypatch):
    def refuse(_socket, address):
        raise AssertionError(f"asked {address}")

    monkeypatch.setattr("socket.socket.connect", refuse)


def test_google_has_no_credentials_and_asks_no_metadata_server(no_network):
    google_auth = pytest.importorskip("google.auth")
    with pytest.raises(google_auth.exceptions.DefaultCredentialsError):
        google_auth.default()


def test_azure_has_no_credentials_and_asks_no_metadata_server(no_network):
    with DefaultAzureCredential() as credential, pytest.raises(ClientAuthenticationError):
        credential.get_token("https://storage.azure.com/.default")


def test_aws_has_no_credentials_and_asks_no_metadata_server(no_network):
    with pytest.raises(NoCredentialsError):
        boto3.client("s3", region_name="us-east-1").list_buckets()


def test_what_the_shell_exports_does_not_reach_the_tests(tmp_path):
    exported = {
        "TIERCACHE_S3_BUCKET": "mine",
        "TIERCACHE_REDIS_URL": "redis://mine",
        "AWS_ENDPOINT_URL_S3": "http://mine",
        "STORAGE_EMULATOR_HOST": "http://mine",
        "AZURE_STORAGE_CONNECTION_STRING": "mine",
        "GOOGLE_APPLICATION_CREDENTIALS": "/mine",
    }
    probe = f"import os, tests.conftest; print([name for name in {list(exported)} if name in os.environ])"
    env = os.environ | exported
    shown = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"
