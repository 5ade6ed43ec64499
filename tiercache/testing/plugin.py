"""The pytest plugin: fixtures for people who test their own code. `pip install tiercache[testing]` is enough.

    def test_the_answer_is_asked_for_once(tiercache_cache): ...

Nothing is made, and no SDK imported, before a test asks for a fixture. `-p no:tiercache` switches the plugin off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tiercache import Cache, TierChain
    from tiercache_s3 import S3Backend

    from .clock import FakeClock
    from .faulty import FaultyBackend
    from .proxy import FaultProxy

_BUCKET = "tiercache-test"


@pytest.fixture
def tiercache_clock() -> FakeClock:
    """A clock that moves only when the test says so; the other fixtures keep to it."""
    from .clock import FakeClock

    return FakeClock()


@pytest.fixture
def tiercache_chain(tiercache_clock: FakeClock, tmp_path: Path) -> Iterator[TierChain]:
    """A chain of memory and disk, in the test's own directory and on its clock."""
    from tiercache import DiskBackend, MemoryBackend, TierChain

    memory = MemoryBackend(clock=tiercache_clock)
    disk = DiskBackend(tmp_path / "tiercache.sqlite3", clock=tiercache_clock)
    chain = TierChain(memory, disk, clock=tiercache_clock)
    yield chain
    chain.close()


@pytest.fixture
def tiercache_cache(tiercache_chain: TierChain) -> Cache:
    """A cache on `tiercache_chain`."""
    from tiercache import Cache

    return Cache(tiercache_chain)


@pytest.fixture
def tiercache_s3(tiercache_clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Backend]:
    """An S3 backend on a bucket of moto, in the process and offline; skips where moto or boto3 are not installed.

    boto3 clients made within the test are mocked as well.
    """
    try:
        import boto3
        from moto import mock_aws
    except ImportError as error:
        pytest.skip(f"tiercache_s3 needs the package {error.name!r}: pip install 'tiercache[s3]' 'moto[s3]'")
    from tiercache_s3 import S3Backend

    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket=_BUCKET)
        backend = S3Backend(_BUCKET, region="us-east-1", clock=tiercache_clock)
        yield backend
        backend.close()


@pytest.fixture
def tiercache_faulty(tiercache_clock: FakeClock) -> Iterator[FaultyBackend]:
    """A `FaultyBackend` on memory, without rules yet: `tiercache_faulty.inject(Rule("timeout"))`."""
    from tiercache import MemoryBackend

    from .faulty import FaultyBackend

    backend = FaultyBackend(MemoryBackend(clock=tiercache_clock))
    yield backend
    backend.close()


@pytest.fixture
def tiercache_proxy() -> Iterator[Callable[[str], FaultProxy]]:
    """A function that puts a running `FaultProxy` in front of a server (`host:port` or a URL), until the test ends."""
    from .proxy import FaultProxy

    with ExitStack() as stack:
        yield lambda target: stack.enter_context(FaultProxy(target))
