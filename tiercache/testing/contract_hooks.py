"""What a user of the contract suite fills in: the fixture, the raw access, the clock, and flags."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, TypeVar

import pytest

from ..backend import Backend
from ..entry import Entry, Metadata
from ..errors import CorruptEntry, PartialFailure

Case = TypeVar("Case", bound=Callable[..., Any])


def needs(*flags: str) -> Callable[[Case], Case]:
    """Skip the case in classes where one of these flags is False (or None)."""

    def note(case: Case) -> Case:
        case.__dict__["needs"] = flags
        return case

    return note


class ContractHooks:
    """Hooks and flags of `BackendContract`, and what the cases share.

    Attributes:
        supports_raw: `raw_get` and `raw_put` reach the envelopes. False for a store that keeps none (memory).
        supports_async: the a-operations exist. False for a structural backend without them.
        supports_if_absent: `put(if_absent=True)` works. False for servers without conditional writes.
        supports_if_match: `put(if_match=...)` works and `head` reports an etag.
        conditions_are_atomic: of two conditional writes at once, one is refused. False only for a stand-in server
            whose check and write are two steps.
        if_absent_replaces_expired: an expired entry counts as nothing for `if_absent`, as it should. False where
            only the server knows what is there, and it does not know our expiry.
        honours_deadline: a spent deadline raises `BackendTimeout`. False for a store in the process, which answers.
        scan_knows_expiry: `scan` without `full` leaves expired entries out. False where a listing has no expiry.
        many: entries of the paging cases; more than one page of the store's own listing.
        operations_per_thread: operations of each of the eight threads in the mixed load.
        secrets: words given to the constructor that must not be in a repr.
    """

    supports_raw: bool = True
    supports_async: bool = True
    supports_if_absent: bool = True
    supports_if_match: bool = True
    conditions_are_atomic: bool = True
    if_absent_replaces_expired: bool = True
    honours_deadline: bool = True
    scan_knows_expiry: bool = True
    many: int = 300
    operations_per_thread: int = 50
    secrets: tuple[str, ...] = ()

    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        """Yield a fresh, empty backend and close it afterwards. Must be overridden."""
        raise NotImplementedError("override the fixture `backend`: yield a fresh, empty backend, then close it")

    def raw_get(self, backend: Any, key: str) -> bytes | None:
        """Return the envelope that the store holds under the key, read beside the backend; None: nothing is there."""
        raise NotImplementedError("override `raw_get`, or set `supports_raw = False`")

    def raw_put(self, backend: Any, key: str, data: bytes) -> None:
        """Replace the envelope of a stored key, beside the backend, with any bytes."""
        raise NotImplementedError("override `raw_put`, or set `supports_raw = False`")

    def now(self) -> float:
        """Return the backend's time, Unix seconds. Override it together with `advance` for a fake clock."""
        return time.time()

    def advance(self, seconds: float) -> None:
        """Let this much time pass for the backend. Waits; override it where the backend takes a `clock`."""
        until = time.time() + seconds
        while (left := until - time.time()) > 0:
            time.sleep(left)

    @pytest.fixture(autouse=True)
    def _skip_what_is_not_supported(self, request: pytest.FixtureRequest) -> None:
        for flag in getattr(request.function, "needs", ()):
            if not getattr(self, flag):
                pytest.skip(f"{flag} is {getattr(self, flag)}")

    @cached_property
    def prefix(self) -> str:
        """What this test's keys start with: another one in each test, so that a server can be shared."""
        return f"contract-{uuid.uuid4().hex[:12]}:"

    def key(self, name: str = "key") -> str:
        """Return a key of this test."""
        return self.prefix + name

    def keys(self, count: int) -> list[str]:
        """Return this many keys of this test."""
        return [self.key(f"{number:04}") for number in range(count)]

    def entry(
        self,
        key: str,
        payload: bytes = b"payload",
        *,
        age: float = 60.0,
        ttl: float | None = None,
        stale_for: float | None = None,
        **fields: Any,
    ) -> Entry:
        """Return an entry made `age` seconds ago that expires in `ttl` seconds (ago, when negative)."""
        now = self.now()
        expires_at = None if ttl is None else now + ttl
        stale_until = None if expires_at is None or stale_for is None else expires_at + stale_for
        metadata = Metadata(
            key=key,
            created_at=now - age,
            expires_at=expires_at,
            stale_until=stale_until,
            size=len(payload),
            **fields,
        )
        return Entry(payload, metadata)

    def payload(self, backend: Backend, key: str) -> bytes | None:
        """Return what `get` finds; None: a miss."""
        entry = backend.get(key)
        return None if entry is None else entry.payload

    def store(self, backend: Backend, *keys: str) -> None:
        """Put an entry under each key; the payload is the key."""
        for key in keys:
            assert backend.put(key, self.entry(key, key.encode())) is True

    def etag(self, backend: Backend, key: str) -> str:
        """Return the version that `head` reports; `get` may leave it out where it costs too much."""
        head = backend.head(key)
        assert head is not None
        assert head.etag
        return head.etag

    def scanned(self, backend: Backend, prefix: str = "") -> list[str]:
        """Return the keys that a scan yields, sorted."""
        return sorted(key for key, _ in backend.scan(prefix))

    def read(self, backend: Backend, key: str) -> Entry | None:
        """Return what `get` finds; None: a miss, which may be a `CorruptEntry`, and nothing else."""
        try:
            return backend.get(key)
        except CorruptEntry:
            return None

    def read_many(self, backend: Backend, keys: Sequence[str]) -> dict[str, Entry]:
        """Return what `get_many` finds, also when keys failed because of what they hold."""
        try:
            return backend.get_many(keys)
        except PartialFailure as error:
            failure = error
        assert [error for error in failure.failed.values() if not isinstance(error, CorruptEntry)] == []
        results: dict[str, Entry] = failure.results
        return results
