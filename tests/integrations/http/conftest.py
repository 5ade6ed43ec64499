"""What the tests of the transport share: both modules, both faces, a cache, and somebody who asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import httpx2
import pytest

from tests.integrations.http.askers import Asker, AwaitingAsker, BlockingAsker
from tests.provider import FakeProvider
from tiercache import Cache, MemoryBackend


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"])
def http(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def cache() -> Iterator[Cache]:
    with Cache(MemoryBackend()) as made:
        yield made


@pytest.fixture(params=[BlockingAsker, AwaitingAsker], ids=["sync", "async"])
def face(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def askers(face: Any, provider: FakeProvider, cache: Cache) -> Iterator[Callable[..., Asker]]:
    """Makes askers: `askers(api_key=…, scope=…, http=…)`; they are closed after the test."""
    made: list[Asker] = []

    def make(*, cache: Any = cache, http: Any = httpx2, **options: Any) -> Asker:
        made.append(face(provider, cache, http, **options))
        return made[-1]

    yield make
    for asker in made:
        asker.close()


@pytest.fixture
def asker(askers: Callable[..., Asker]) -> Asker:
    return askers()
