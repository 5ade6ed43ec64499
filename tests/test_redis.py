"""RedisBackend: options, what lies in Redis, conditions, listings, loops, forks (faults: test_redis_faults.py)."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from tiercache import envelope
from tiercache.entry import Entry, Metadata
from tiercache.errors import (
    BackendTimeout,
    CacheClosed,
    ConfigurationError,
    CorruptEntry,
    EntryTooLarge,
    InvalidKey,
    PartialFailure,
)
from tiercache_redis import RedisBackend, listing
from tiercache_redis.layout import Layout

CANARY = "s3cr3t-canary"


def entry(key, payload=b"payload", *, ttl=None, stale_for=None, clock=time.time):
    now = clock()
    expires_at = None if ttl is None else now + ttl
    stale_until = None if stale_for is None else now + ttl + stale_for
    metadata = Metadata(key=key, created_at=now, expires_at=expires_at, stale_until=stale_until, size=len(payload))
    return Entry(payload, metadata)


@pytest.fixture
def client(redis_url):
    client = redis.Redis.from_url(redis_url)
    yield client
    client.close()


@pytest.fixture
def make(redis_url, client):
    """Make backends on the server, below a prefix of this test; close them and remove what they stored."""
    made = []
    below = f"{uuid.uuid4().hex}:"

    def make(url=redis_url, **options):
        made.append(RedisBackend(url, **{"prefix": below, "timeout": 10, **options}))
        return made[-1]

    make.below = below
    yield make
    for backend in made:
        backend.close()
    names = list(client.scan_iter(f"{below}*"))
    if names:
        client.unlink(*names)


@pytest.fixture
def backend(make):
    return make()


def name_of_client(url):
    """Return a URL whose connections have a name of their own, and the name."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    return f"{url}?client_name={name}", name


def connections(client, name):
    return [found for found in client.client_list() if found["name"] == name]


def until(condition):
    """Wait for what happens in another thread or process."""
    guard = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < guard
        time.sleep(0.005)


# Options


def test_imports_without_redis_and_names_the_extra():
    code = """
import sys
sys.modules["redis"] = None
from tiercache.errors import MissingExtra
from tiercache_redis import RedisBackend
try:
    RedisBackend()
except MissingExtra as error:
    assert "tiercache[redis]" in str(error), error
else:
    raise SystemExit("no error")
"""
    path = os.pathsep.join(sys.path)
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": path})


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{CANARY}@localhost:6379/0",
        f"user:{CANARY}@localhost",
        f"redis://user:{CANARY}@localhost:port/0",
        f"redis://:{CANARY}/with-a-slash@localhost:6379/0",
        f"redis://:{CANARY}#hash@localhost:6379/0",
        f"redis://:x?{CANARY}=y@localhost:6379/0",
        f"redis://[{CANARY}/0",
        f"redis://localhost/{CANARY}",
        f"redis://localhost/0?db={CANARY}",
        f"redis://localhost/0?protocol=9&password={CANARY}",
        f"rediss://localhost/0?ssl_cert_reqs={CANARY}",
        f"rediss://localhost/0?ssl_{CANARY}=1",
        f"redis://localhost/0?ssl_ca_certs={CANARY}",
        f"redis://localhost/0?socket_timeout=5&password={CANARY}",
        f"redis://localhost/0?decode_responses=True&password={CANARY}",
        f"unix://{CANARY}@",
    ],
)
def test_a_url_that_is_none_of_redis_is_a_configuration_error_and_is_not_quoted(url):
    with pytest.raises(ConfigurationError) as caught:
        RedisBackend(url)
    error = caught.value
    assert CANARY not in f"{error} {error!r} {error.__context__} {error.__cause__}"


@pytest.mark.parametrize(
    "options",
    [
        {"prefix": ""},
        {"max_connections": 0},
        {"max_connections": 1.5},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": "x"},
    ],
    ids=str,
)
def test_a_bad_option_is_a_configuration_error(options):
    with pytest.raises(ConfigurationError):
        RedisBackend(**options)


def test_the_constructor_does_no_io():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        RedisBackend(f"redis://127.0.0.1:{server.getsockname()[1]}/0").close()
        with pytest.raises(BlockingIOError):
            server.accept()


def test_the_timeout_is_a_tenth_of_a_second_unless_told_otherwise():
    assert RedisBackend().timeout == 0.1
    assert RedisBackend(timeout="250ms").timeout == 0.25
    assert RedisBackend(timeout=None).timeout is None


def test_options_in_the_query_of_the_url_outrank_the_arguments(redis_url, client):
    prefix = f"{uuid.uuid4().hex}:"
    backend = RedisBackend(f"{redis_url}?prefix={prefix}&timeout=7.5&max_connections=3", prefix="x:", timeout=10)
    backend.put("key", entry("key", ttl=60))
    assert backend.timeout == 7.5
    assert client.exists(f"{prefix}key")
    assert backend.clear() == 1
    backend.close()


def test_the_number_in_the_path_is_the_database(make, redis_url, client):
    other = make(redis_url.removesuffix("/0") + "/1")
    other.put("key", entry("key", ttl=60))
    assert make().get("key") is None
    assert not client.exists(f"{make.below}key")
    assert other.delete("key")


def test_from_env_prefers_its_own_variable_and_passes_options_on(redis_url):
    env = {"TIERCACHE_REDIS_URL": redis_url, "REDIS_URL": "redis://127.0.0.1:1/0"}
    with_both = RedisBackend.from_env(env, timeout=10)
    with_both.ping()
    assert with_both.timeout == 10
    with_both.close()
    with_one = RedisBackend.from_env({"REDIS_URL": redis_url}, timeout=10)
    with_one.ping()
    with_one.close()


def test_from_env_without_a_variable_is_the_local_server(monkeypatch):
    urls = []
    monkeypatch.setattr(RedisBackend, "__init__", lambda self, url="default", **options: urls.append(url))
    RedisBackend.from_env({})
    assert urls == ["default"]


def test_url_arguments_keep_the_whole_url():
    from urllib.parse import urlsplit

    for url in ("unix:///run/redis.sock?db=3", "rediss://user:pa%2Fss@host:1/2?ssl_ca_certs=/ca", "redis:///3"):
        assert RedisBackend.url_arguments(urlsplit(url)) == {"url": url}


def test_works_without_hiredis(redis_url):
    code = """
import asyncio, sys, time
sys.modules["hiredis"] = None
import redis.utils
assert not redis.utils.HIREDIS_AVAILABLE
from tiercache.entry import Entry, Metadata
from tiercache_redis import RedisBackend
backend = RedisBackend(sys.argv[1], prefix=sys.argv[2], timeout=10)
put = Entry(bytes(range(256)) * 1000, Metadata(key="k", created_at=time.time(), expires_at=time.time() + 60))
backend.put("k", put)
assert backend.get("k").payload == put.payload
assert asyncio.run(backend.aget("k")).payload == put.payload
assert list(backend.get_many(["k", "absent"])) == ["k"]
assert [key for key, _ in backend.scan()] == ["k"]
assert backend.clear() == 1
"""
    path = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", code, redis_url, f"{uuid.uuid4().hex}:"]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": path})


# What lies in Redis


def test_an_entry_is_one_string_key_that_holds_the_envelope(backend, make, client):
    put = entry("größe:1", ttl=60)
    backend.put("größe:1", put)
    assert [name.decode() for name in client.scan_iter(f"{make.below}*")] == [f"{make.below}größe:1"]
    assert client.get(f"{make.below}größe:1") == envelope.encode(put)


def test_redis_itself_expires_what_has_an_expiry(backend, make, client):
    backend.put("fresh", entry("fresh", ttl=60))
    backend.put("stale", entry("stale", ttl=60, stale_for=1000))
    backend.put_many({"batch": entry("batch", ttl=60)})
    backend.put("absent", entry("absent", ttl=60), if_absent=True)
    assert 59_000 < client.pttl(f"{make.below}fresh") <= 60_000
    assert 1_059_000 < client.pttl(f"{make.below}stale") <= 1_060_000
    assert 59_000 < client.pttl(f"{make.below}batch") <= 60_000
    assert 59_000 < client.pttl(f"{make.below}absent") <= 60_000


def test_redis_keeps_what_has_none(backend, make, client):
    backend.put("key", entry("key", ttl=60))
    backend.put("key", entry("key"))
    backend.put_many({"batch": entry("batch")})
    assert client.pttl(f"{make.below}key") == -1
    assert client.pttl(f"{make.below}batch") == -1


def test_a_replacement_takes_its_own_expiry(backend, make, client):
    backend.put("key", entry("key", ttl=60))
    for ttl, low, high in [(600, 599_000, 600_000), (None, -1, -1)]:
        assert backend.put("key", entry("key", ttl=ttl), if_match=backend.head("key").etag)
        assert low <= client.pttl(f"{make.below}key") <= high


@pytest.mark.parametrize(("left", "milliseconds"), [(60.0, 60_000), (0.0101, 11), (1e-7, 1), (1e300, 10**15)])
def test_the_milliseconds_are_rounded_up_and_bounded(clock, left, milliseconds):
    clock.now = 0.0
    put = Entry(b"", Metadata(key="k", created_at=0.0, expires_at=left))
    assert Layout("p:", clock).write("k", put)[3:] == (b"PX", milliseconds)


def test_an_expiry_beyond_what_redis_can_count_is_stored(backend):
    assert backend.put("key", Entry(b"", Metadata(key="key", created_at=0.0, expires_at=1e300)))
    assert backend.get("key").metadata.expires_at == 1e300


def test_an_entry_that_is_already_gone_is_not_stored_and_takes_away_what_was_there(backend, make, client):
    for options in ({}, {"if_match": True}):
        backend.put("key", entry("key"))
        if options:
            options = {"if_match": backend.head("key").etag}
        assert backend.put("key", entry("key", ttl=-1), **options) is True
        assert not client.exists(f"{make.below}key")
    assert backend.put("key", entry("key", ttl=-1), if_absent=True) is True
    assert not client.exists(f"{make.below}key")


def test_a_batch_with_an_entry_that_is_already_gone_takes_away_what_was_there(backend, make, client):
    backend.put_many({"a": entry("a"), "b": entry("b")})
    backend.put_many({"a": entry("a", ttl=-1), "b": entry("b", b"new")})
    assert not client.exists(f"{make.below}a")
    assert backend.get("b").payload == b"new"


def test_expiry_is_by_the_local_clock_even_if_redis_still_holds_the_entry(make, client, clock):
    backend = make(clock=clock)
    backend.put("key", entry("key", ttl=60, clock=clock))
    clock.advance(60)
    assert client.exists(f"{make.below}key")
    assert backend.get("key") is None
    assert backend.head("key") is None
    assert backend.get_many(["key"]) == {}
    assert list(backend.scan(full=True)) == []


def test_keys_that_redis_could_not_tell_apart_are_refused(backend):
    for key in ("", "lone \ud800 surrogate", "k" * 70_000):
        with pytest.raises(InvalidKey):
            backend.get(key)


def test_a_value_of_another_type_is_a_corrupt_entry(backend, make, client):
    client.rpush(f"{make.below}list", "x")
    with pytest.raises(CorruptEntry, match="another type"):
        backend.get("list")
    with pytest.raises(CorruptEntry):
        backend.put("list", entry("list"), if_match="00" * 16)
    assert backend.get_many(["list"]) == {}
    assert backend.put("list", entry("list")) is True
    assert backend.get("list") is not None


def test_foreign_bytes_in_a_batch_are_a_partial_failure_with_the_rest(backend, make, client):
    backend.put("good", entry("good"))
    client.set(f"{make.below}bad", b"foreign")
    with pytest.raises(PartialFailure) as caught:
        backend.get_many(["good", "bad", "absent"])
    assert list(caught.value.results) == ["good"]
    assert {key: type(error) for key, error in caught.value.failed.items()} == {"bad": CorruptEntry}


def test_what_is_too_large_for_an_envelope_fails_alone(backend):
    huge = entry("huge").with_metadata(tags=("t" * 2**20,))
    with pytest.raises(PartialFailure) as caught:
        backend.put_many({"huge": huge, "small": entry("small")})
    assert {key: type(error) for key, error in caught.value.failed.items()} == {"huge": EntryTooLarge}
    assert backend.get("small") is not None


def test_batches_of_several_pages(backend):
    keys = [f"{number:05}" for number in range(2345)]
    backend.put_many({key: entry(key, key.encode(), ttl=60) for key in keys})
    assert [found.payload for found in backend.get_many(keys).values()] == [key.encode() for key in keys]
    assert backend.delete_many([*keys, *keys[:10], "absent"]) == 2346
    assert backend.get_many(keys) == {}


def test_a_batch_of_many_bytes_goes_out_in_several_pipelines(backend):
    payload = os.urandom(2**20)
    backend.put_many({str(number): entry(str(number), payload, ttl=60) for number in range(10)})
    assert len(backend.get_many([str(number) for number in range(10)])) == 10


# Conditions


def test_if_absent_replaces_what_only_the_local_clock_calls_expired(make, clock):
    backend = make(clock=clock)
    backend.put("key", entry("key", b"old", ttl=60, clock=clock))
    clock.advance(61)
    assert backend.put("key", entry("key", b"new", ttl=60, clock=clock), if_absent=True) is True
    assert backend.get("key").payload == b"new"


@pytest.mark.parametrize("size", [1, 10, 16, 17, 20, 31, 32, 33, 500])
def test_if_absent_replaces_bytes_that_are_no_entry(backend, make, client, size):
    client.set(f"{make.below}key", os.urandom(size))
    assert backend.put("key", entry("key"), if_absent=True) is True
    assert backend.get("key").payload == b"payload"


def test_if_absent_leaves_an_entry_of_a_later_format_alone(backend, make, client):
    backend.put("key", entry("key"))
    data = client.get(f"{make.below}key")
    later = data[:4] + b"\x09" + data[5:]
    client.set(f"{make.below}key", later)
    assert backend.put("key", entry("key"), if_absent=True) is False
    assert client.get(f"{make.below}key") == later


@pytest.mark.parametrize("etag", ["", "0" * 31, "0" * 64, '"d41d8cd98f00b204e9800998ecf8427e-5"', "größe"])
def test_if_match_with_an_etag_of_another_store_writes_nothing(backend, etag):
    assert backend.put("key", entry("key"), if_match=etag) is False
    backend.put("key", entry("key", b"old"))
    assert backend.put("key", entry("key"), if_match=etag) is False
    assert backend.get("key").payload == b"old"


def test_both_conditions_at_once_are_an_error(backend):
    with pytest.raises(ValueError, match="pass one of them"):
        backend.put("key", entry("key"), if_absent=True, if_match="00" * 16)


async def test_many_backends_race_for_one_key_and_one_wins(make):
    backends = [make() for _ in range(8)]
    puts = [put.aput("key", entry("key", b"%d" % n), if_absent=True) for n, put in enumerate(backends)]
    won = await asyncio.gather(*puts)
    assert won.count(True) == 1
    assert backends[0].get("key").payload == b"%d" % won.index(True)


# Listings


@pytest.mark.parametrize("prefix", ["*", "?", "[a]", "[^a]", "\\", "\\*", "a*b?c[d]", "[", "]", "-"])
def test_glob_characters_are_literal_in_both_prefixes(make, client, prefix):
    mine, neighbour = make(prefix=f"{make.below}{prefix}"), make(prefix=f"{make.below}aXbXcXd")
    neighbour.put("key", entry("key"))
    mine.put(f"{prefix}1", entry(f"{prefix}1"))
    mine.put("aXbXcd1", entry("aXbXcd1"))
    assert sorted(key for key, _ in mine.scan()) == sorted([f"{prefix}1", "aXbXcd1"])
    assert [key for key, _ in mine.scan(prefix)] == [f"{prefix}1"]
    assert mine.clear(prefix) == 1
    assert mine.clear() == 1
    assert neighbour.get("key") is not None


@settings(max_examples=40, deadline=None)
@given(
    keys=st.sets(st.text("*?[]^\\-a/é", min_size=1, max_size=5), max_size=8), prefix=st.text("*?[]^\\-aé", max_size=3)
)
def test_a_prefix_finds_the_keys_that_start_with_it_and_no_others(redis_url, keys, prefix):
    backend = RedisBackend(redis_url, prefix=f"{uuid.uuid4().hex}[*]:", timeout=10)
    backend.put_many({key: entry(key, ttl=60) for key in keys})
    matching = {key for key in keys if key.startswith(prefix)}
    assert {key for key, _ in backend.scan(prefix)} == matching
    assert backend.clear(prefix) == len(matching)
    assert {key for key, _ in backend.scan(full=True)} == keys - matching
    backend.clear()
    backend.close()


def test_clear_leaves_everything_else_in_the_database(make, client):
    client.set("not-ours", "x", ex=60)
    backend = make()
    backend.put("key", entry("key"))
    assert backend.clear() == 1
    assert client.delete("not-ours") == 1


def test_a_listing_tells_size_and_expiry(backend, make, client):
    backend.put("fresh", entry("fresh", ttl=60))
    backend.put("stale", entry("stale", ttl=-60, stale_for=360))
    backend.put("forever", entry("forever"))
    found = dict(backend.scan())
    now = time.time()
    assert found["forever"].expires_at is None
    assert 0 < now + 60 - found["fresh"].expires_at < 30
    assert 0 < now + 300 - found["stale"].expires_at < 30  # when Redis drops it
    assert found["fresh"].stored_size == client.strlen(f"{make.below}fresh")


@pytest.mark.parametrize("full", [False, True])
def test_a_listing_leaves_out_what_is_no_entry(backend, make, client, full):
    backend.put("entry", entry("entry"))
    client.rpush(f"{make.below}list", "x")
    client.set(make.below, "no key")
    client.set(make.below.encode() + b"\xff", "no text")
    assert [key for key, _ in backend.scan(full=full)] == ["entry"]


def test_a_listing_names_a_key_once_however_often_redis_does():
    layout, seen = Layout("p:", time.time), set()
    pages = []
    for cursor, names in [(b"7", [b"p:a", b"p:b", b"p:a"]), (b"0", [b"p:b", b"p:c"])]:
        steps = listing.glance(layout, b"0", "", seen)
        next(steps)
        asked = steps.send([[cursor, names]])
        with pytest.raises(StopIteration) as stop:
            steps.send([-1, 100] * (len(asked) // 2))
        pages.append([key for key, _ in stop.value.value[1]])
    assert pages == [["a", "b"], ["c"]]


# Threads, loops and processes


def test_threads_together_use_no_more_connections_than_allowed(make, redis_url, client):
    url, name = name_of_client(redis_url)
    backend = make(url, max_connections=3)
    backend.put("key", entry("key"))
    together, most = threading.Barrier(12), []

    def work(number):
        together.wait(30)
        for _ in range(50):
            assert backend.get("key") is not None
        most.append(len(connections(client, name)) if number == 0 else 0)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(12)))
    assert 1 <= max(most) <= 3
    assert len(connections(client, name)) <= 3


async def test_tasks_together_use_no_more_connections_than_allowed(make, redis_url, client):
    url, name = name_of_client(redis_url)
    backend = make(url, max_connections=3)
    await backend.aput("key", entry("key"))
    found = await asyncio.gather(*(backend.aget("key") for _ in range(200)))
    assert all(found)
    assert 1 <= len(connections(client, name)) <= 3


def test_connections_are_used_again(make, redis_url, client):
    url, name = name_of_client(redis_url)
    backend = make(url)
    for _ in range(20):
        backend.get("absent")
    assert len(connections(client, name)) == 1


def test_close_closes_the_connections_and_ends_use(make, redis_url, client):
    url, name = name_of_client(redis_url)
    backend = make(url)
    backend.ping()
    backend.close()
    backend.close()
    until(lambda: not connections(client, name))
    for use in (backend.ping, lambda: backend.get_many([]), lambda: next(backend.scan())):
        with pytest.raises(CacheClosed):
            use()


async def test_aclose_closes_the_connections_of_both_faces(make, redis_url, client):
    url, name = name_of_client(redis_url)
    backend = make(url)
    backend.ping()
    await asyncio.gather(*(backend.aping() for _ in range(3)))
    await backend.aclose()
    await backend.aclose()
    until(lambda: not connections(client, name))
    with pytest.raises(CacheClosed):
        await backend.aping()


async def test_close_reaches_the_connections_of_a_running_loop(make, redis_url, client):
    url, name = name_of_client(redis_url)
    backend = make(url)
    await backend.aping()
    await asyncio.to_thread(backend.close)
    await asyncio.to_thread(until, lambda: not connections(client, name))


def test_a_loop_closes_its_connections_when_it_ends(make, redis_url, client):
    url, name = name_of_client(redis_url)
    backend = make(url)

    async def use():
        await asyncio.gather(*(backend.aping() for _ in range(3)))
        return len(connections(client, name))

    for _ in range(2):
        assert asyncio.run(use()) == 3
        until(lambda: not connections(client, name))


def test_a_backend_that_is_forgotten_in_a_loop_leaves_nothing_behind(make, redis_url, client):
    url, name = name_of_client(redis_url)

    async def use_and_forget():
        await RedisBackend(url, timeout=10).aping()

    asyncio.run(use_and_forget())
    until(lambda: not connections(client, name))


async def test_synchronous_calls_work_inside_a_loop(backend):
    backend.put("key", entry("key"))
    assert (await backend.aget("key")).payload == backend.get("key").payload


def in_child(work):
    """Run it in a forked child; its exit code tells whether it returned True."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 warns about forks beside threads: that is the case
        pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        code = 1
        try:
            code = 0 if work() else 2
        finally:
            os._exit(code)
    return pid


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_opens_connections_of_its_own(make):
    backend = make()
    keys = {"parent": entry("parent", b"parent" * 1000), "child": entry("child", b"child" * 1000)}
    backend.put_many(keys)

    def reads(key):
        return all(backend.get(key).payload == keys[key].payload for _ in range(200))

    pid = in_child(lambda: reads("child"))
    assert reads("parent")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert reads("parent")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
async def test_a_child_that_is_forked_inside_a_loop_runs_one_of_its_own(make):
    backend = make()
    keys = {"parent": entry("parent", b"parent" * 1000), "child": entry("child", b"child" * 1000)}
    await backend.aput_many(keys)

    async def reads(key):
        return all([(await backend.aget(key)).payload == keys[key].payload for _ in range(100)])

    pid = in_child(lambda: not backend._loops._known and asyncio.run(reads("child")))
    assert await reads("parent")
    assert os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, pid, 0))[1]) == 0
    assert await reads("parent")


def test_a_deadline_that_has_passed_is_a_timeout_before_any_io():
    backend = RedisBackend("redis://127.0.0.1:1/0")  # nobody there: I/O would say so
    with pytest.raises(BackendTimeout):
        backend.get("key", deadline=time.monotonic())
    with pytest.raises(BackendTimeout):
        asyncio.run(backend.aget("key", deadline=time.monotonic() - 1))
    backend.close()
