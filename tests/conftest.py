"""Real servers for the tests, one of each a session; a fake clock; no test touches the user's own cache or clouds."""

from __future__ import annotations

import os
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import pytest

from tests.peers import certificate, free_port, serve, web
from tiercache.testing import FakeClock, servers
from tiercache.ticker import ticker

__all__ = ["FakeClock", "certificate", "free_port", "serve", "web"]  # all but the first: fixtures

T = TypeVar("T")


# What a developer has for their own work, and what `make servers` tells them to export.
_NOT_FOR_TESTS = (
    "AWS_",
    "AZURE_",
    "GOOGLE_",
    "GCLOUD_",
    "CLOUDSDK_",
    "GCE_",
    "STORAGE_EMULATOR_HOST",
    "TIERCACHE_",
    "REDIS_",
)
_FOR_TESTS = ("TIERCACHE_SERVERS_DIR", "TIERCACHE_TEST_")
for _name in [name for name in os.environ if name.startswith(_NOT_FOR_TESTS) and not name.startswith(_FOR_TESTS)]:
    del os.environ[_name]
_SERVERS = Path(__file__).parent.parent / ".servers"
if _SERVERS.is_dir():  # wherever the tests are started from
    os.environ.setdefault("TIERCACHE_SERVERS_DIR", str(_SERVERS))
_NOWHERE = os.path.join(tempfile.gettempdir(), f"tiercache-no-such-directory-{os.getpid()}")
os.environ |= {
    # No metadata server, no files below the home directory. google-auth reads its variable when it is imported.
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": _NOWHERE,
    "AWS_SHARED_CREDENTIALS_FILE": _NOWHERE,
    "NO_GCE_CHECK": "true",
    "CLOUDSDK_CONFIG": _NOWHERE,
    "AZURE_CONFIG_DIR": _NOWHERE,
    "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
    # The servers are on this machine.
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a job in the background; what tests start would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_user_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERCACHE_DIR", str(tmp_path_factory.mktemp("user-cache")))


@pytest.fixture(autouse=True)
def _nothing_goes_on_after_its_test() -> Iterator[None]:
    """Caches that nobody closed ping dead stores, and log, until they are collected: into the next test."""
    before = list(ticker._tasks)
    yield
    ticker._tasks[:] = [task for task in ticker._tasks if task in before]


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The URL of a real Redis-compatible server."""
    with _started(servers.redis_server) as server:
        yield server.url


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[servers.RedisCluster]:
    """A real Redis Cluster of three primaries and a replica; leave it as it was."""
    with _started(servers.redis_cluster) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def redis_sentinels() -> Iterator[servers.RedisSentinels]:
    """A primary, a replica and three sentinels; leave them as they were."""
    with _started(servers.redis_sentinels) as deployment:
        yield deployment


@pytest.fixture(scope="session")
def s3_server() -> Iterator[servers.S3Server]:
    """A real S3 server: SeaweedFS."""
    with _started(servers.seaweedfs_server) as server:
        yield server


@pytest.fixture(scope="session")
def s3_bucket(s3_server: servers.S3Server) -> str:
    """A bucket on that server, shared by all tests: SeaweedFS gives each bucket volumes of its own, and runs out."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=s3_server.endpoint_url,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret_key,
        region_name=s3_server.region,
    )
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    client.close()
    return name


@pytest.fixture(scope="session")
def ministack() -> Iterator[servers.S3Server]:
    """An S3 server that does not read archived objects; it accepts any key."""
    with _started(servers.ministack_server) as server:
        yield server


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[servers.GCSServer]:
    """An emulator of Google Cloud Storage: fake-gcs-server."""
    with _started(servers.fake_gcs_server) as server:
        yield server


@pytest.fixture(scope="session")
def gcs_bucket(gcs_server: servers.GCSServer) -> str:
    """A bucket on that server, shared by all tests."""
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    options = {"api_endpoint": gcs_server.endpoint_url}
    client = storage.Client(gcs_server.project, AnonymousCredentials(), client_options=options)
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    client.create_bucket(name)
    client.close()
    return name


@pytest.fixture(scope="session")
def azure_server() -> Iterator[servers.AzureServer]:
    """A real Azure Blob endpoint: Azurite."""
    with _started(servers.azurite_server) as server:
        yield server


@pytest.fixture(scope="session")
def azure_container(azure_server: servers.AzureServer) -> str:
    """A container on that server, shared by all tests."""
    from azure.storage.blob import BlobServiceClient

    name = f"container-{uuid.uuid4().hex[:12]}"
    with BlobServiceClient.from_connection_string(azure_server.connection_string) as client:
        client.create_container(name)
    return name


@pytest.fixture
def s3_prefix() -> str:
    """What the names of a test's own objects start with, on whichever cloud."""
    return f"{uuid.uuid4().hex[:12]}/"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def _started(server: Callable[[], AbstractContextManager[T]]) -> AbstractContextManager[T]:
    """Start a server; where it cannot be had, skip with the reason, or fail in CI."""

    class _Started(AbstractContextManager[T]):
        def __enter__(self) -> T:
            self._context = server()
            try:
                return self._context.__enter__()
            except servers.ServerUnavailable as unavailable:
                if os.environ.get("CI") == "true":
                    pytest.fail(f"CI must have this server: {unavailable}")
                pytest.skip(str(unavailable))

        def __exit__(self, *error: object) -> None:
            self._context.__exit__(*error)  # type: ignore[arg-type]

    return _Started()
