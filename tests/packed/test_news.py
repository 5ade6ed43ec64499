"""Packed backends in chains: a new segment is seen by others at once, and nothing that anybody sends can hurt."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE

import pytest

import tests.packed.listening as listening_process
from tests.carriers import Carrier, Hub
from tests.test_objectstore import DictStore, entry
from tiercache import Cache, MemoryBackend, TierChain
from tiercache.coherence import notice
from tiercache.objectstore import ObjectStoreBackend
from tiercache.packed import PackedBackend
from tiercache_redis import RedisBackend
from tiercache_s3 import S3Backend

WAIT = 30
ROOT = Path(__file__).parent.parent.parent


def eventually(condition):
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)


class Uploads(DictStore):
    """Keeps what was uploaded, too."""

    def __init__(self):
        super().__init__()
        self.uploads = []

    def write(self, upload, **options):
        self.uploads.append(upload)
        return super().write(upload, **options)


@pytest.fixture
def store():
    return Uploads()


@pytest.fixture
def process(store, clock):
    """A function that returns a packed backend in a chain that listens, over the one store."""
    hub, chains = Hub(), []

    def make(**options):
        inner = ObjectStoreBackend(store, prefix="p", clock=clock, timeout=60)
        packed = PackedBackend(inner, refresh="1h", flush_after="1h")
        chain = TierChain(MemoryBackend(clock=clock), Carrier(clock, hub), packed, clock=clock, **options)
        chains.append(chain)
        Cache(chain, namespace="n").get("anything")
        packed.get("anything")  # the catalogue is loaded
        return packed

    make.hub = hub
    yield make
    for chain in chains:
        chain.close()


@pytest.mark.parametrize("coherent", [True, False])
def test_a_flushed_entry_is_seen_by_another_chain_without_a_listing(process, coherent):
    here, there = process(coherent=coherent), process(coherent=coherent)
    listings = there.discovery.counters.listings
    here.put("k", entry("k"))
    here.flush()
    eventually(lambda: there.get("k") is not None)
    assert there.discovery.counters.listings == listings
    assert here.discovery.counters.told == 0  # its own


def test_what_is_deleted_here_is_gone_there(process):
    here, there = process(), process()
    here.put("k", entry("k"))
    here.flush()
    eventually(lambda: there.get("k") is not None)
    here.delete("k")
    eventually(lambda: there.get("k") is None)


def test_after_a_gap_the_store_is_listed(process):
    here, there = process(), process()
    process.hub.cut()
    here.put("k", entry("k"))
    here.flush()
    process.hub.mend()
    eventually(lambda: there.get("k") is not None)


@pytest.mark.parametrize("news", [b"", b"\xff", b"x", b"_segments/1d/x 5", b"../k 5", b"_segments/keep/" + b"0" * 26])
def test_garbage_is_no_news(process, news):
    packed = process()
    [message] = notice.of_segments(bytes(16), {packed.place: [news]})
    for listener in process.hub.listeners:
        listener.heard(message)
    assert packed.discovery.counters.told == 0


@pytest.mark.parametrize("wrong", [-1, 1, 10**9])
def test_a_wrong_size_in_the_news_of_a_segment_does_not_hide_it(process, store, wrong):
    here, there = process(), process()
    process.hub.cut()
    here.put("k", entry("k"))
    here.flush()
    [name] = [name for name in store.objects if "_segments/" in name]
    size = store.objects[name][0].size + wrong
    reads = there.discovery.counters.tails
    there.heard([f"{name.removeprefix('p/')} {size}".encode()])
    eventually(lambda: there.discovery.counters.tails > reads)
    there.discovery._looking.drain(WAIT)
    there.refresh()
    assert there.get("k") is not None


def test_no_segment_says_itself_when_it_may_be_deleted(process, store, clock):
    packed = process()
    packed.put("k", entry("k"))
    packed.flush()
    packed.put("k", entry("k", expires_at=clock.now + 60))  # deleted before the older one, that one would be back
    packed.flush()
    uploads = [upload for upload in store.uploads if "_segments/" in upload.name]
    assert [upload.gone_at for upload in uploads] == [None, None]
    assert {upload.name.split("/")[2] for upload in uploads} == {"keep"}


# Through real servers


@pytest.mark.parametrize("way", [{}, {"coherent": False}])
@pytest.mark.parametrize("memory", [True, False])
def test_with_redis_a_new_segment_is_seen_before_the_next_listing(redis_url, s3_server, s3_bucket, memory, way):
    prefix, options = (
        os.urandom(6).hex(),
        {
            "endpoint_url": s3_server.endpoint_url,
            "access_key_id": s3_server.access_key,
            "secret_access_key": s3_server.secret_key,
            "region": s3_server.region,
            "timeout": 60,
        },
    )

    def cache():
        packed = PackedBackend(S3Backend(s3_bucket, prefix=prefix, **options), refresh="1h", flush_after="1h")
        redis = RedisBackend(redis_url, prefix=f"{prefix}:", timeout=10)
        chain = TierChain(*([MemoryBackend()] if memory else []), redis, packed, **way)
        return Cache(chain, namespace="n"), packed, chain

    (here, mine, _), (there, theirs, listening) = cache(), cache()
    with here, there:
        assert (here.get("k"), there.get("k")) == (None, None)
        eventually(lambda: not listening.news._missed)
        here.set("k", "v")
        mine.flush()
        eventually(lambda: theirs.get("n:k") is not None)
        assert listening.news.counters.heard == 1


async def test_what_is_flushed_by_closing_is_told(process, store, clock):
    there = process()
    inner = ObjectStoreBackend(store, prefix="p", clock=clock, timeout=60)
    chain = TierChain(Carrier(clock, process.hub), PackedBackend(inner, flush_after="1h"), clock=clock)
    await Cache(chain, namespace="n").aset("k", "v")
    await chain.aclose()
    eventually(lambda: there.get("n:k") is not None)


def test_another_process_sees_a_segment_within_a_second_and_does_not_look_for_it(redis_url, s3_server, s3_bucket):
    place = {
        "bucket": s3_bucket,
        "prefix": f"{os.urandom(6).hex()}/",
        "endpoint_url": s3_server.endpoint_url,
        "access_key_id": s3_server.access_key,
        "secret_access_key": s3_server.secret_key,
        "region": s3_server.region,
    }
    arguments = [sys.executable, listening_process.__file__, redis_url, json.dumps(place)]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "backends")])
    chain, packed = listening_process.chain_of(redis_url, place)
    with (
        contextlib.closing(chain),
        subprocess.Popen(
            arguments, stdin=PIPE, stdout=PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}
        ) as there,
    ):
        listening_process.listening(chain)
        assert json.loads(there.stdout.readline()) == there.pid != os.getpid()
        for value in ("first", "second", None):
            if value is None:
                packed.delete("n:k")
            else:
                packed.put("n:k", entry("n:k", value.encode()))
                packed.flush()
            print(json.dumps(["n:k", value]), file=there.stdin, flush=True)
            assert json.loads(there.stdout.readline()) == [value, 0]
        there.stdin.close()
        assert there.wait(60) == 0
