"""Real servers for the tests, one of each a session; a fake clock; no test touches the user's own cache."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TypeVar

import pytest

from tiercache.testing import servers

T = TypeVar("T")


@pytest.fixture(autouse=True)
def _no_user_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERCACHE_DIR", str(tmp_path_factory.mktemp("user-cache")))
    monkeypatch.delenv("TIERCACHE_DISABLED", raising=False)
    # Whatever credentials this machine has, a test uses its own.
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The URL of a real Redis-compatible server."""
    with _started(servers.redis_server) as server:
        yield server.url


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


@pytest.fixture
def s3_prefix() -> str:
    """What the names of a test's own objects start with."""
    return f"{uuid.uuid4().hex[:12]}/"


class FakeClock:
    """Unix seconds that move only when told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


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
