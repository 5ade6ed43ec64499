"""Contract cases: the awaited operations do the same, on the same object, from any event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from ..backend import Backend
from ..errors import BackendTimeout, CacheClosed, CorruptEntry, PartialFailure
from .contract_hooks import ContractHooks, needs


async def _drain(backend: Backend, prefix: str, **deadline: Any) -> list[str]:
    return sorted([key async for key, _ in backend.ascan(prefix, **deadline)])


AWAITED: dict[str, Callable[..., Awaitable[Any]]] = {
    "aget": lambda backend, key, entry, **deadline: backend.aget(key, **deadline),
    "aput": lambda backend, key, entry, **deadline: backend.aput(key, entry, **deadline),
    "adelete": lambda backend, key, entry, **deadline: backend.adelete(key, **deadline),
    "ahead": lambda backend, key, entry, **deadline: backend.ahead(key, **deadline),
    "aget_many": lambda backend, key, entry, **deadline: backend.aget_many([key], **deadline),
    "aput_many": lambda backend, key, entry, **deadline: backend.aput_many({key: entry}, **deadline),
    "adelete_many": lambda backend, key, entry, **deadline: backend.adelete_many([key], **deadline),
    "ascan": lambda backend, key, entry, **deadline: _drain(backend, key, **deadline),
    "aclear": lambda backend, key, entry, **deadline: backend.aclear(key, **deadline),
    "aping": lambda backend, key, entry, **deadline: backend.aping(**deadline),
}


class AsyncCases(ContractHooks):
    """The a-twins. Each case is marked, so that the suite runs without pytest-asyncio's auto mode."""

    @needs("supports_async")
    @pytest.mark.asyncio
    async def test_aget_returns_what_aput_stored(self, backend: Backend) -> None:
        key = self.key()
        entry = self.entry(key, b"text " * 1000, ttl=3600, tags=("t",), attributes={"price": 0.5, "größe": None})
        assert await backend.aput(key, entry) is True
        got = await backend.aget(key)
        assert got is not None
        assert got.payload == entry.payload
        for name in ("key", "created_at", "expires_at", "codec", "tags", "attributes", "size"):
            assert getattr(got.metadata, name) == getattr(entry.metadata, name), name

    @needs("supports_async")
    @pytest.mark.asyncio
    async def test_awaited_reads_of_an_absent_key_are_misses(self, backend: Backend) -> None:
        key = self.key()
        assert await backend.aget(key) is None
        assert await backend.ahead(key) is None
        assert await backend.aget_many([key]) == {}
        assert await backend.adelete(key) is False

    @needs("supports_async")
    @pytest.mark.asyncio
    async def test_awaited_reads_of_an_expired_entry_are_misses(self, backend: Backend) -> None:
        expired, stale = self.key("expired"), self.key("stale")
        await backend.aput(expired, self.entry(expired, ttl=-30))
        await backend.aput(stale, self.entry(stale, ttl=-30, stale_for=3600))
        assert await backend.aget(expired) is None
        assert await backend.ahead(expired) is None
        assert list(await backend.aget_many([expired, stale])) == [stale]

    @needs("supports_async")
    @pytest.mark.asyncio
    async def test_ahead_agrees_with_head(self, backend: Backend) -> None:
        key = self.key()
        await backend.aput(key, self.entry(key, b"text " * 1000, ttl=3600.125, stale_for=60, codec="msgpack"))
        assert await backend.ahead(key) == backend.head(key)

    @needs("supports_async")
    @pytest.mark.asyncio
    async def test_adelete_says_whether_something_was_there(self, backend: Backend) -> None:
        key = self.key()
        await backend.aput(key, self.entry(key))
        assert await backend.adelete(key) is True
        assert await backend.adelete(key) is False
        assert await backend.aget(key) is None

    @needs("supports_async")
    @pytest.mark.asyncio
    async def test_awaited_batches_carry_each_entry_under_its_own_key(self, backend: Backend) -> None:
        keys = self.keys(12)
        await backend.aput_many({key: self.entry(key, key.encode()) for key in keys})
        found = await backend.aget_many([*keys, self.key("absent")])
        assert {key: entry.payload for key, entry in found.items()} == {key: key.encode() for key in keys}
        assert await backend.adelete_many([*keys, self.key("absent")]) == 13
        assert await backend.aget_many(keys) == {}

    @needs("supports_async")
    @pytest.mark.asyncio
    async def test_empty_awaited_batches_do_nothing(self, backend: Backend) -> None:
        assert await backend.aget_many([]) == {}
        await backend.aput_many({})
        assert await backend.adelete_many([]) == 0

    @needs("supports_async", "supports_if_absent")
    @pytest.mark.asyncio
    async def test_aput_if_absent_refuses_what_is_there(self, backend: Backend) -> None:
        key = self.key()
        assert await backend.aput(key, self.entry(key, b"one"), if_absent=True) is True
        assert await backend.aput(key, self.entry(key, b"two"), if_absent=True) is False
        assert self.payload(backend, key) == b"one"

    @needs("supports_async", "supports_if_match")
    @pytest.mark.asyncio
    async def test_aput_if_match_writes_over_the_version_that_was_read_only(self, backend: Backend) -> None:
        key = self.key()
        await backend.aput(key, self.entry(key, b"one"))
        head = await backend.ahead(key)
        assert head is not None
        assert head.etag
        assert await backend.aput(key, self.entry(key, b"two"), if_match=head.etag) is True
        assert await backend.aput(key, self.entry(key, b"three"), if_match=head.etag) is False
        assert self.payload(backend, key) == b"two"

    @needs("supports_async", "supports_if_absent", "conditions_are_atomic")
    @pytest.mark.asyncio
    async def test_of_many_tasks_that_write_if_absent_one_wins(self, backend: Backend) -> None:
        key = self.key()
        puts = (backend.aput(key, self.entry(key, b"%d" % number), if_absent=True) for number in range(16))
        wrote = await asyncio.gather(*puts)
        assert wrote.count(True) == 1
        assert self.payload(backend, key) == b"%d" % wrote.index(True)

    @needs("supports_async")
    @pytest.mark.asyncio
    async def test_ascan_yields_many_entries_once_each_and_aclear_removes_them(self, backend: Backend) -> None:
        keys = self.keys(self.many)
        await backend.aput_many({key: self.entry(key) for key in keys})
        backend.put("elsewhere", self.entry("elsewhere"))
        assert await _drain(backend, self.prefix) == keys
        assert await backend.aclear(self.prefix) == self.many
        assert await _drain(backend, "") == ["elsewhere"]

    @needs("supports_async")
    @pytest.mark.asyncio
    async def test_an_awaited_scan_that_is_left_early_leaves_the_backend_usable(self, backend: Backend) -> None:
        keys = self.keys(5)
        self.store(backend, *keys)
        found = backend.ascan(self.prefix)
        assert (await anext(found))[0] in keys
        await found.aclose()  # type: ignore[attr-defined]  # an async generator in every implementation so far
        assert await _drain(backend, self.prefix) == keys

    @needs("supports_async", "supports_raw")
    @pytest.mark.asyncio
    async def test_awaited_reads_of_a_damaged_entry_are_misses(self, backend: Backend) -> None:
        damaged, good = self.key("damaged"), self.key("good")
        self.store(backend, damaged, good)
        self.raw_put(backend, damaged, b"damaged")
        with suppress(CorruptEntry):
            assert await backend.aget(damaged) is None
        try:
            found = await backend.aget_many([damaged, good])
        except PartialFailure as failure:
            found = failure.results
        assert list(found) == [good]

    # One object for both faces

    @needs("supports_async")
    @pytest.mark.asyncio
    async def test_both_faces_see_each_others_writes(self, backend: Backend) -> None:
        one, two = self.key("one"), self.key("two")
        await backend.aput(one, self.entry(one, b"awaited"))
        assert self.payload(backend, one) == b"awaited"
        backend.put(two, self.entry(two, b"called"))
        got = await backend.aget(two)
        assert got is not None
        assert got.payload == b"called"
        backend.delete(one)
        assert await backend.aget(one) is None

    @needs("supports_async")
    def test_one_event_loop_after_another(self, backend: Backend) -> None:
        keys = self.keys(3)
        for key in keys:
            assert asyncio.run(self._write_and_read(backend, key)) == key.encode()
        assert [self.payload(backend, key) for key in keys] == [key.encode() for key in keys]

    @needs("supports_async")
    def test_event_loops_in_several_threads_at_once(self, backend: Backend) -> None:
        keys = self.keys(4)
        with ThreadPoolExecutor(len(keys)) as pool:
            found = list(pool.map(lambda key: asyncio.run(self._write_and_read(backend, key)), keys))
        assert found == [key.encode() for key in keys]

    async def _write_and_read(self, backend: Backend, key: str) -> bytes | None:
        await backend.aput(key, self.entry(key, key.encode()))
        await backend.aget(key)
        got = await backend.aget(key)
        return None if got is None else got.payload

    @needs("supports_async")
    @pytest.mark.asyncio
    async def test_concurrent_awaited_reads_get_their_own_key(self, backend: Backend) -> None:
        keys = self.keys(25)
        await asyncio.gather(*(backend.aput(key, self.entry(key, key.encode())) for key in keys))
        found = await asyncio.gather(*(backend.aget(key) for key in keys))
        assert [entry.payload if entry else None for entry in found] == [key.encode() for key in keys]

    @needs("supports_async")
    @pytest.mark.asyncio
    async def test_a_cancelled_read_does_not_answer_the_next_one(self, backend: Backend) -> None:
        keys = self.keys(10)
        self.store(backend, *keys)
        for number, key in enumerate(keys):
            task = asyncio.ensure_future(backend.aget(key))
            for _ in range(number):  # cancel it a step later each time
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            following = keys[number - 1]
            got = await backend.aget(following)
            assert got is not None
            assert got.payload == following.encode()

    # Deadlines and closing

    @needs("supports_async")
    @pytest.mark.parametrize("name", AWAITED)
    @pytest.mark.asyncio
    async def test_every_awaited_operation_takes_a_deadline(self, backend: Backend, name: str) -> None:
        key = self.key()
        await AWAITED[name](backend, key, self.entry(key), deadline=time.monotonic() + 60)

    @needs("supports_async", "honours_deadline")
    @pytest.mark.asyncio
    async def test_a_spent_deadline_of_an_awaited_read_is_a_timeout(self, backend: Backend) -> None:
        key = self.key()
        self.store(backend, key)
        with pytest.raises(BackendTimeout):
            await backend.aget(key, deadline=time.monotonic() - 1)
        assert await backend.aget(key) is not None

    @needs("supports_async")
    @pytest.mark.parametrize("name", AWAITED)
    @pytest.mark.asyncio
    async def test_a_closed_backend_says_so_when_awaited(self, backend: Backend, name: str) -> None:
        key = self.key()
        entry = self.entry(key)
        await backend.aput(key, entry)
        await backend.aclose()
        with pytest.raises(CacheClosed):
            await AWAITED[name](backend, key, entry)

    @needs("supports_async")
    @pytest.mark.asyncio
    async def test_aclose_may_be_called_again(self, backend: Backend) -> None:
        await backend.aput(self.key(), self.entry(self.key()))
        await backend.aclose()
        await backend.aclose()
        with pytest.raises(CacheClosed):
            backend.get(self.key())
