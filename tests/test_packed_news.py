"""What a backend of many entries an object stores, the same backends of other processes learn through notices."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import threading
import time

import msgspec
import pytest

from tests.carriers import Carrier, Hub
from tests.support import RemoteBackend
from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.coherence import news as module
from tiercache.coherence import notice
from tiercache.errors import BackendUnavailable
from tiercache_redis import RedisBackend

WAIT = 30
PLACE = b"bucket/prefix/"


class NewsStore(RemoteBackend):
    """A store with news, which keeps what it heard."""

    def __init__(self, clock, place=PLACE):
        super().__init__(clock, name="store")
        self.place = place
        self.on_sealed = lambda news: None
        self.last = ()
        self.news = []
        self.refreshes = 0
        self.error = None
        self.told = threading.Event()

    def heard(self, news):
        if self.error is not None:
            raise self.error
        self.news += news
        self.told.set()

    def refresh_soon(self):
        self.refreshes += 1
        if self.error is not None:
            raise self.error

    def close(self):
        if self.last:
            self.on_sealed(self.last)
        super().close()


@pytest.fixture
def hub():
    return Hub()


@pytest.fixture
def chain_of(clock, hub):
    """A function that returns a chain that listens, and its store; each stands for a process."""
    chains = []

    def make(*above, place=PLACE, **options):
        store = NewsStore(clock, place)
        above = (MemoryBackend(clock=clock), *above) if options.pop("memory", True) else above
        chain = TierChain(*above, Carrier(clock, hub), store, clock=clock, **options)
        chains.append(chain)
        Cache(chain, namespace="n").get("anything")
        return chain, store

    yield make
    for chain in chains:
        chain.close()


def eventually(condition):
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)


WAYS = {
    "with memory": {},
    "without memory": {"memory": False},
    "not coherent": {"coherent": False},
    "neither": {"memory": False, "coherent": False},
}


@pytest.mark.parametrize("way", WAYS)
def test_what_one_stores_the_other_hears_of(chain_of, way):
    (_, here), (_, there) = chain_of(**WAYS[way]), chain_of(**WAYS[way])
    here.on_sealed([b"segment 1", b"segment 2"])
    eventually(lambda: there.news == [b"segment 1", b"segment 2"])
    assert here.news == []


def test_a_store_of_another_place_hears_nothing(chain_of):
    (_, here), (_, there), (_, elsewhere) = chain_of(), chain_of(), chain_of(place=b"other")
    here.on_sealed([b"segment"])
    eventually(lambda: there.news)
    assert elsewhere.news == []


def test_stores_of_two_places_in_one_chain_are_told_apart(chain_of, clock):
    second = [NewsStore(clock, b"two"), NewsStore(clock, b"two")]
    (_, here), (_, there) = chain_of(second[0]), chain_of(second[1])
    here.on_sealed([b"one"])
    second[0].on_sealed([b"two"])
    eventually(lambda: there.news and second[1].news)
    assert (there.news, second[1].news) == ([b"one"], [b"two"])


def test_a_chain_does_not_listen_before_it_is_used(clock, hub):
    chain = TierChain(Carrier(clock, hub), NewsStore(clock), clock=clock)
    assert hub.listeners == []
    Cache(chain, namespace="n").get("k")
    assert hub.listeners == [chain.news]


async def test_an_awaited_use_begins_to_listen(clock, hub):
    chain = TierChain(Carrier(clock, hub), NewsStore(clock), clock=clock)
    await Cache(chain, namespace="n").aset("k", 1)
    assert hub.listeners == [chain.news]


def test_a_chain_whose_stores_have_no_news_listens_as_before(clock, hub):
    for options in ({}, {"coherent": False}):
        chain = TierChain(Carrier(clock, hub), RemoteBackend(clock), clock=clock, **options)
        Cache(chain, namespace="n").get("k")
    assert hub.listeners == []


def test_news_drops_nothing_from_memory(chain_of):
    (_, here), (chain, there) = chain_of(), chain_of()
    cache = Cache(chain, namespace="n")
    cache.set("k", "v")
    here.on_sealed([b"segment"])
    eventually(lambda: there.news)
    assert cache.lookup("k").tier == "memory"
    assert chain.coherence.counters.unreadable == 0


def test_an_older_release_reads_news_as_a_notice_of_nothing():
    class Older(msgspec.Struct, array_like=True):
        format: int
        sender: bytes
        changes: dict[str, float] = {}
        everything: bool = False
        marks: dict[str, object] = {}

    [message] = notice.of_segments(bytes(16), {PLACE: [b"segment"]})
    said = msgspec.msgpack.decode(message, type=Older)
    assert (said.changes, said.everything, said.marks) == ({}, False, {})


def test_news_is_cut_into_notices_of_bounded_size():
    large = [bytes([number]) * (notice.MAX_BYTES // 3) for number in range(7)]
    small = [b"%d" % number for number in range(2 * notice.MAX_KEYS + 1)]
    messages = list(notice.of_segments(bytes(16), {b"large": large, b"small": small}))
    assert max(map(len, messages)) < notice.MAX_BYTES + 20 * notice.MAX_KEYS
    read = [notice.read(message).segments for message in messages]
    assert [item for page in read for item in page.get(b"large", [])] == large
    assert [item for page in read for item in page.get(b"small", [])] == small
    assert max(sum(map(len, page.values())) for page in read) <= notice.MAX_KEYS


@pytest.mark.parametrize("segments", ["text", {"place": [1]}, {PLACE: b"no list"}, {1: []}, [PLACE]])
def test_malformed_news_reaches_no_store(chain_of, hub, segments):
    chain, store = chain_of()
    message = msgspec.msgpack.encode([1, bytes(16), {}, False, {}, segments])
    for listener in list(hub.listeners):
        listener.heard(message)
    assert store.news == []
    assert chain.coherence.counters.unreadable == 1


def test_a_store_that_fails_on_news_harms_nobody(chain_of, hub):
    (_, here), (chain, there) = chain_of(), chain_of()
    _, third = chain_of()
    there.error = ValueError("not for a log")
    here.on_sealed([b"segment"])
    eventually(lambda: third.news)
    assert chain.news.counters.failed == 1
    there.error = None
    here.on_sealed([b"next"])
    eventually(lambda: there.news == [b"next"])


def test_news_that_cannot_be_told_is_counted_and_raises_nothing(chain_of, hub):
    chain, store = chain_of()
    hub.error = BackendUnavailable("down")
    store.on_sealed([b"segment"])
    eventually(lambda: chain.news.counters.unsent == 1)
    assert chain.news.counters.sent == 0
    assert chain.tiers[1].counters.errors["BackendUnavailable"] >= 1


def test_news_waits_for_a_slow_carrier_only_so_far(chain_of, hub, monkeypatch):
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    (chain, store), (_, there) = chain_of(), chain_of()
    reached, go_on = chain.tiers[1].backend.hold("announce")
    store.on_sealed([b"first"])
    assert reached.wait(WAIT)
    store.on_sealed([b"a", b"b", b"c", b"d", b"e"])
    go_on.set()
    eventually(lambda: chain.news.counters.sent == 4)
    assert chain.news.counters.unsent == 2
    assert there.news == [b"first", b"a", b"b", b"c"]


def test_news_that_no_notice_can_hold_is_left_to_be_found(chain_of):
    (chain, store), (_, there) = chain_of(), chain_of()
    store.on_sealed([bytes(notice.MAX_BYTES + 1), b"small"])
    eventually(lambda: there.news == [b"small"])
    assert chain.news.counters.unsent == 1


def test_a_tier_that_is_only_read_tells_nothing_and_hears(clock, hub, chain_of):
    store = NewsStore(clock)
    chain = TierChain(Tier(Carrier(clock, hub), write="never"), store, clock=clock)
    Cache(chain, namespace="n").get("k")
    store.on_sealed([b"segment"])
    assert chain.news.counters.unsent == 1
    _, other = chain_of()
    other.on_sealed([b"theirs"])
    eventually(lambda: store.news == [b"theirs"])
    chain.close()


def test_after_a_gap_the_store_looks_for_itself(chain_of, hub):
    chain, store = chain_of()
    assert store.refreshes == 0  # nothing was missed: the first use waited for the subscription
    hub.cut()
    hub.mend()
    assert (store.refreshes, chain.news.counters.gaps) == (1, 1)


def test_a_store_looks_for_itself_where_its_first_use_did_not_wait(chain_of):
    _, store = chain_of(memory=False)
    assert store.refreshes == 1


def test_a_carrier_that_brings_no_news_is_counted_once_a_gap(chain_of, hub):
    chain, _ = chain_of(memory=False)
    hub.cut()
    hub.cut()
    assert chain.tiers[0].counters.errors["BackendUnavailable"] == 1


@pytest.mark.parametrize("face", ["sync", "async"])
def test_what_a_store_writes_when_it_is_closed_is_told(clock, hub, chain_of, face):
    _, there = chain_of()
    store = NewsStore(clock)
    store.last = [b"the last"]
    chain = TierChain(MemoryBackend(clock=clock), Carrier(clock, hub), store, clock=clock)
    Cache(chain, namespace="n").get("k")
    if face == "sync":
        chain.close()
    else:
        asyncio.run(chain.aclose())
    assert there.news == [b"the last"]
    assert chain.news not in hub.listeners


def test_a_closed_chain_tells_no_more(chain_of):
    chain, store = chain_of()
    chain.close()
    store.on_sealed([b"late"])
    assert chain.news.counters.unsent == 1


def test_a_store_does_not_keep_the_chain_that_it_was_in(clock, hub):
    store = NewsStore(clock)
    chain = TierChain(Carrier(clock, hub), store, clock=clock)
    chain.close()
    del chain
    gc.collect()
    store.on_sealed([b"segment"])  # nobody is there to tell it
    assert hub.messages == []


# Through a real server


@pytest.fixture
def on_redis(redis_url, clock):
    with contextlib.ExitStack() as stack:
        prefix = f"{os.urandom(6).hex()}:"

        def make(*memory, **options):
            store = NewsStore(clock)
            chain = TierChain(*memory, RedisBackend(redis_url, prefix=prefix, timeout=10), store, **options)
            stack.callback(chain.close)
            Cache(chain, namespace="n").get("anything")
            eventually(lambda: not chain.news._missed)
            return chain, store

        yield make


@pytest.mark.parametrize("way", WAYS)
def test_redis_brings_news_to_the_other_chain(on_redis, way):
    memory = [] if "memory" in WAYS[way] else [MemoryBackend()]
    options = {name: value for name, value in WAYS[way].items() if name != "memory"}
    (_, here), (_, there) = on_redis(*memory, **options), on_redis(**options)
    here.on_sealed([b"segment"])
    assert there.told.wait(WAIT)
    assert there.news == [b"segment"]
    assert here.news == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("coherent", [True, False])
def test_a_forked_child_is_another_sender_and_listens_again(on_redis, coherent):
    chain, store = on_redis(coherent=coherent)
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        try:
            Cache(chain, namespace="n").get("anything")
            eventually(lambda: not chain.news._missed)
            store.on_sealed([b"from the child"])
            eventually(lambda: chain.news.counters.sent == 1)
            eventually(lambda: store.news == [b"from the parent"])
            os._exit(0)
        finally:
            os._exit(2)
    eventually(lambda: store.news == [b"from the child"])
    store.on_sealed([b"from the parent"])
    assert os.waitpid(child, 0)[1] == 0
