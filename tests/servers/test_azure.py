"""Azure Blob as a server of the tests: Azurite."""

from collections.abc import Iterator

import pytest
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.storage.blob import BlobServiceClient, StandardBlobTier

from tests.servers.support import had
from tiercache.testing.servers import AzureServer, azurite_server

WELL_KNOWN = "devstoreaccount1"


@pytest.fixture(scope="module")
def azurite() -> Iterator[AzureServer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZURITE_ACCOUNTS", "theirs:dGhlaXJz")
        patch.setenv("AZURITE_DB", "postgres://theirs")
        with had(azurite_server()) as server:
            yield server


def client_of(server: AzureServer, **credential: object) -> BlobServiceClient:
    found = credential or {"credential": {"account_name": server.account_name, "account_key": server.account_key}}
    return BlobServiceClient(server.account_url, retry_total=0, **found)


def test_a_round_trip_with_the_sdk(azurite):
    with client_of(azurite) as client, client.create_container("container") as container:
        container.upload_blob("a/b%2F~ü", b"value", metadata={"key": "value"}, standard_blob_tier=StandardBlobTier.COOL)
        assert container.download_blob("a/b%2F~ü").readall() == b"value"
        (listed,) = container.list_blobs(include=["metadata"])
        assert (listed.name, listed.blob_tier, listed.metadata) == ("a/b%2F~ü", "Cool", {"key": "value"})
    assert azurite.kind.startswith("azurite 3.")


def test_the_connection_string_is_enough(azurite):
    with BlobServiceClient.from_connection_string(azurite.connection_string, retry_total=0) as client:
        client.create_container("by-connection-string")
        assert "by-connection-string" in [container.name for container in client.list_containers()]


def test_a_blob_is_created_once(azurite):
    with client_of(azurite) as client, client.create_container("once") as container:
        container.upload_blob("blob", b"first")
        with pytest.raises(ResourceExistsError):
            container.upload_blob("blob", b"second")


def test_what_is_archived_is_not_read(azurite):
    with client_of(azurite) as client, client.create_container("archive") as container:
        container.upload_blob("cold", b"value", standard_blob_tier=StandardBlobTier.ARCHIVE)
        with pytest.raises(HttpResponseError, match="BlobArchived"):
            container.download_blob("cold")


def test_a_wrong_key_is_refused(azurite):
    wrong = {"account_name": azurite.account_name, "account_key": "d3Jvbmc="}
    with client_of(azurite, credential=wrong) as client, pytest.raises(HttpResponseError, match="AuthorizationFailure"):
        next(client.list_containers())


def test_the_well_known_account_is_not_there(azurite):
    key = {"account_name": WELL_KNOWN, "account_key": azurite.account_key}
    url = azurite.account_url.replace(azurite.account_name, WELL_KNOWN)
    with BlobServiceClient(url, retry_total=0, credential=key) as client, pytest.raises(HttpResponseError):
        next(client.list_containers())


def test_each_server_has_an_account_of_its_own(azurite):
    with had(azurite_server()) as other:
        assert other.account_name != azurite.account_name
        assert other.account_key != azurite.account_key
        assert other.pid != azurite.pid


def test_repr_holds_no_secret(azurite):
    assert azurite.account_key in azurite.connection_string
    assert azurite.account_key not in repr(azurite)
    assert "AccountKey" not in repr(azurite)
