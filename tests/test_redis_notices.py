"""RedisBackend as a carrier of notices: one round trip, one connection, one thread; and users who may not."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
import uuid

import pytest
import redis
from redis import exceptions as theirs

from tiercache import Cache, MemoryBackend, TierChain
from tiercache.coherence.carrier import NoticeCarrier
from tiercache.errors import AccessDenied, CacheClosed
from tiercache_redis import RedisBackend
from tiercache_redis.frames import Frames

WAIT = 10


def eventually(condition):
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)


@pytest.fixture
def prefix():
    return f"{uuid.uuid4().hex[:12]}:"


@pytest.fixture
def make(redis_url, prefix):
    made = []

    def make(url=redis_url, **options):
        chain = TierChain(MemoryBackend(), RedisBackend(url, prefix=prefix, timeout=5), **options)
        made.append(chain)
        return Cache(chain, namespace="n")

    yield make
    for chain in made:
        chain.close()


class Ears:
    """A listener that keeps what it was told."""

    def __init__(self):
        self.told, self.live_now = [], threading.Event()

    def live(self):
        self.live_now.set()

    def heard(self, message):
        self.told.append(message)

    def lost(self, error):
        self.live_now.clear()


class Wire:
    """A socket that is sent these pieces, and then nothing."""

    ends = None

    def __init__(self, pieces):
        self.pieces = pieces

    def recv(self, size):
        if not self.pieces:
            raise TimeoutError
        return self.pieces.pop(0)


def thread_of(backend):
    """The thread that listens for it; None: none does."""
    return backend._subscription._thread


def test_the_backend_carries_notices(redis_url):
    assert isinstance(RedisBackend(redis_url), NoticeCarrier)


def test_messages_reach_whoever_listens_below_the_prefix(redis_url, prefix):
    backend, elsewhere = RedisBackend(redis_url, prefix=prefix), RedisBackend(redis_url, prefix="other:")
    ears, deaf = Ears(), Ears()
    backend.listen(ears)
    elsewhere.listen(deaf)
    assert ears.live_now.wait(WAIT)
    assert deaf.live_now.wait(WAIT)
    backend.announce([b"one", b"\x00\xff" * 300_000])
    asyncio.run(backend.aannounce([b"three"]))
    eventually(lambda: ears.told == [b"one", b"\x00\xff" * 300_000, b"three"])
    assert deaf.told == []
    backend.close()
    elsewhere.close()


def test_listeners_share_one_connection_and_it_ends_with_the_last(redis_url, prefix):
    backend, first, second = RedisBackend(redis_url, prefix=prefix), Ears(), Ears()
    backend.listen(first)
    assert first.live_now.wait(WAIT)
    thread = thread_of(backend)
    backend.listen(second)
    assert second.live_now.is_set()
    assert thread_of(backend) is thread
    backend.unlisten(first)
    backend.announce([b"x"])
    eventually(lambda: second.told == [b"x"])
    assert first.told == []
    first.live_now.clear()
    backend.unlisten(second)
    thread.join(WAIT)
    assert not thread.is_alive()
    backend.listen(first)  # and begins again
    assert first.live_now.wait(WAIT)
    thread = thread_of(backend)
    backend.close()
    thread.join(WAIT)
    assert not thread.is_alive()


def test_who_listens_right_after_the_last_one_left_is_served(redis_url, prefix):
    backend, ears = RedisBackend(redis_url, prefix=prefix), Ears()
    for number in range(20):
        ears.live_now.clear()
        backend.listen(ears)
        assert ears.live_now.wait(WAIT)
        backend.announce([b"%d" % number])
        eventually(lambda number=number: ears.told[-1:] == [b"%d" % number])
        backend.unlisten(ears)
    backend.close()


@pytest.mark.parametrize("pieces", [1, 3, 1000])
def test_messages_are_read_whole_however_they_arrive(pieces):
    sent = b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$6\r\nab\r\ncd\r\n"
    sent += b"*3\r\n$9\r\nsubscribe\r\n$-1\r\n:12\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n"
    frames = Frames(Wire([sent[start : start + pieces] for start in range(0, len(sent), pieces)]))
    found = []
    while (message := frames.next(1)) is not None:
        found.append(message)
    assert found == [[b"message", b"c", b"ab\r\ncd"], [b"subscribe", b"", 12], [b"pong", b""]]


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"-NOPERM no channel\r\n", theirs.NoPermissionError),
        (b"-ERR what\r\n", theirs.ResponseError),
        (b"HTTP/1.1 200 OK\r\n", theirs.InvalidResponse),
        (b"*x\r\n", theirs.InvalidResponse),
        (b"*1\r\n$99999999999\r\n", theirs.InvalidResponse),
        (b"", theirs.ConnectionError),
    ],
)
def test_what_is_no_message_ends_the_connection(sent, error):
    with pytest.raises(error):
        Frames(Wire([sent])).next(1)


def test_a_listener_that_is_dropped_is_not_kept_alive_by_the_thread(redis_url, prefix):
    backend, ears = RedisBackend(redis_url, prefix=prefix), Ears()
    backend.listen(ears)
    assert ears.live_now.wait(WAIT)
    thread = thread_of(backend)
    del ears
    gc.collect()
    thread.join(WAIT)
    assert not thread.is_alive()
    backend.close()


def test_a_closed_backend_neither_sends_nor_listens(redis_url):
    backend = RedisBackend(redis_url)
    backend.close()
    with pytest.raises(CacheClosed):
        backend.listen(Ears())
    with pytest.raises(CacheClosed):
        backend.announce([b"x"])


@pytest.mark.parametrize(
    "change",
    [
        lambda cache: cache.set("k", 1),
        lambda cache: cache.delete("k"),
        lambda cache: cache.set_many({"k": 1, "l": 2}),
        lambda cache: cache.delete_many(["k", "l"]),
        lambda cache: cache.get_or_set("new", lambda: 1),
    ],
    ids=["set", "delete", "set_many", "delete_many", "get_or_set"],
)
def test_a_notice_costs_no_round_trip_of_its_own(make, change, monkeypatch):
    cache, other = make(), make()
    other.set("k", 0)
    cache.set("k", 0)
    other.get("k")
    backend = cache.chain.tiers[1].backend
    exchanged = []
    exchange = backend._connections.exchange
    monkeypatch.setattr(
        backend._connections,
        "exchange",
        lambda commands, *a, **k: (exchanged.append([c[0] for c in commands]), exchange(commands, *a, **k))[1],
    )
    change(cache)
    writing = [names for names in exchanged if names != [b"GET"]]
    assert [names[-1] for names in writing] == [b"PUBLISH"]
    eventually(lambda: other.chain.coherence.counters.heard >= 2)


def test_a_tier_below_that_takes_longer_has_the_change_told_again(redis_url, prefix, clock):
    from tests.support import RemoteBackend

    below = RemoteBackend(time.time)
    chain = TierChain(MemoryBackend(), RedisBackend(redis_url, prefix=prefix, timeout=5), below)
    ears = Ears()
    chain.tiers[1].backend.listen(ears)
    assert ears.live_now.wait(WAIT)
    Cache(chain, namespace="n").set("k", 1)
    eventually(lambda: len(ears.told) == 2)
    chain.close()


@pytest.fixture
def restricted(redis_url):
    """The URL of a user who may use all keys and no channel."""
    name = f"user-{uuid.uuid4().hex[:8]}"
    with redis.Redis.from_url(redis_url) as admin:
        admin.execute_command("ACL", "SETUSER", name, "on", ">pw", "~*", "+@all", "resetchannels")
        yield redis_url.replace("redis://", f"redis://{name}:pw@")
        admin.execute_command("ACL", "DELUSER", name)


def test_a_user_who_may_not_use_the_channel_is_told_how_to_allow_it(restricted):
    backend = RedisBackend(restricted)
    with pytest.raises(AccessDenied, match=r"&prefix\*"):
        backend.announce([b"x"])
    backend.close()


def test_where_no_channel_may_be_used_the_cache_works_and_copies_stay_for_a_second(make, restricted, caplog):
    cache, other = make(restricted), make(restricted)
    with caplog.at_level(logging.WARNING):
        for number in range(20):
            cache.set("k", number)
    assert other.get("k") == 19
    assert cache.chain.tiers[1].counters.errors["AccessDenied"] <= 3  # listening, sending, sending again
    assert len(caplog.records) == 2  # one a chain
    cache.set("k", "new")
    eventually(lambda: other.get("k") == "new")


def test_a_chain_that_heard_something_and_was_forgotten_leaves_no_thread_and_no_connection(make, prefix, redis_url):
    def all_listening():
        return {thread for thread in threading.enumerate() if thread.name == "tiercache-notices"}

    def listening():
        return len(all_listening() - before)

    before = all_listening()
    cache = Cache(TierChain(MemoryBackend(), RedisBackend(redis_url, prefix=prefix, timeout=5)), namespace="n")
    other = make()
    assert cache.get("k") is None
    other.set("k", 1)
    counters = cache.chain.coherence.counters
    eventually(lambda: counters.heard)
    assert listening() == 2
    del cache
    gc.collect()
    eventually(lambda: gc.collect() is not None and listening() == 1)
