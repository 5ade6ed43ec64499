"""Two processes and a real server: what one changes, the other does not serve any more."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import uuid

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from tests.other_process import OtherProcess
from tiercache import Cache, MemoryBackend, TierChain
from tiercache.testing.servers import redis_server
from tiercache.testing.servers.redis import redis_binaries
from tiercache_redis import RedisBackend
from tiercache_redis.notices import SILENCE

PROMISED = 0.1
SLACK = 10


@contextlib.contextmanager
def redis_server_on(port):
    """A server on this port, and its process."""
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with subprocess.Popen([redis_binaries()[0], *arguments], stdout=subprocess.DEVNULL) as server:
        url = f"redis://127.0.0.1:{port}/0"
        try:
            with redis.Redis.from_url(url, retry=Retry(ConstantBackoff(0.02), 500)) as client:
                client.ping()
            yield url, server
        finally:
            server.kill()


@pytest.fixture
def prefix():
    return f"{uuid.uuid4().hex[:12]}:"


@pytest.fixture
def other(redis_url, prefix):
    with OtherProcess(redis_url, prefix=prefix) as other:
        yield other


@pytest.fixture
def cache(redis_url, prefix):
    with Cache(TierChain(MemoryBackend(), RedisBackend(redis_url, prefix=prefix, timeout=5)), namespace="n") as cache:
        yield cache


@pytest.fixture
def admin(redis_url):
    with redis.Redis.from_url(redis_url) as client:
        yield client


def test_a_newer_value_reaches_another_process_at_once(cache, other):
    cache.set("k", 0)
    assert (other("get", "k"), other("tier", "k")) == (0, "memory")
    for number in range(1, 20):
        other.begin("until", "k", number)
        cache.set("k", number)
        written = time.time()
        assert other.end() - written < SLACK * PROMISED
        assert other("tier", "k") == "memory"


@pytest.mark.parametrize("change", ["delete", "delete_many", "clear"])
def test_a_removal_reaches_another_process_at_once(cache, other, change):
    cache.set("k", "v")
    assert (other("get", "k"), other("tier", "k")) == ("v", "memory")
    other.begin("until", "k", None)
    {"delete": lambda: cache.delete("k"), "delete_many": lambda: cache.delete_many(["k"]), "clear": cache.clear}[
        change
    ]()
    removed = time.time()
    assert other.end() - removed < SLACK * PROMISED


def test_both_directions_at_once_end_with_one_value(cache, other):
    for number in range(20):
        other.begin("set", "k", f"other {number}")
        cache.set("k", f"mine {number}")
        other.end()
        end = time.monotonic() + SLACK
        while cache.get("k") != other("get", "k"):
            assert time.monotonic() < end


def test_a_subscription_that_was_killed_leaves_no_old_value(cache, other, admin):
    cache.set("k", "old")
    assert (other("get", "k"), other("tier", "k")) == ("old", "memory")
    for number in range(5):
        admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        cache.set("k", number)
        other("until", "k", number)
        assert other("live")
        assert other("get", "k") == number
    assert other("gaps") >= 1


def test_after_a_restart_of_the_server_nothing_old_is_left(prefix):
    with redis_server() as first:
        port = first.url.rpartition(":")[2].partition("/")[0]
        other = OtherProcess(first.url, prefix=prefix)
        other("set", "k", "old")
        assert other("tier", "k") == "memory"
    with other:
        other("blind")
        assert other("get", "k") is None  # dropped, and the server is away
        other("set", "alone", "v")
        assert other("get", "alone") == "v"  # nobody else could have changed it
        with redis_server_on(port) as (url, _):
            assert other("live")
            with Cache(TierChain(RedisBackend(url, prefix=prefix, timeout=5)), namespace="n") as cache:
                cache.set("k", "new")
                other("until", "k", "new")
                cache.set("k", "newer")
                other("until", "k", "newer")


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="stops a process")
def test_a_server_that_falls_silent_is_noticed_within_a_second(free_port, prefix):
    with redis_server_on(free_port) as (url, server), OtherProcess(url, prefix=prefix, timeout=0.1) as other:
        other("set", "k", "old")
        assert other("live")
        other("get", "k")
        assert other("tier", "k") == "memory"
        other.begin("blind")
        os.kill(server.pid, signal.SIGSTOP)
        stopped = time.time()
        assert other.end() - stopped < SLACK * 2 * SILENCE
        assert other("get", "k") is None
        os.kill(server.pid, signal.SIGCONT)
        assert other("live")
        other("until", "k", "old")


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="stops a process")
def test_a_process_that_falls_behind_until_it_is_disconnected_serves_nothing_old(prefix):
    with redis_server() as server, OtherProcess(server.url, prefix=prefix) as other:
        with redis.Redis.from_url(server.url) as admin:
            admin.config_set("client-output-buffer-limit", "pubsub 64kb 64kb 1")
        with Cache(TierChain(MemoryBackend(), RedisBackend(server.url, prefix=prefix, timeout=5)), namespace="n") as it:
            it.set("k", "old")
            assert (other("get", "k"), other("tier", "k")) == ("old", "memory")
            os.kill(other.process.pid, signal.SIGSTOP)
            for number in range(300):
                it.delete_many([f"{'x' * 10_000}{number}"])  # more than the sockets and the server's buffer hold
            for number in range(300):
                it.delete_many([f"{'x' * 60_000}{number}"])
            it.set("k", "new")
            os.kill(other.process.pid, signal.SIGCONT)
            other("until", "k", "new")
            assert other("live")
            assert other("get", "k") == "new"
            assert other("gaps") == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_hears_for_itself_and_forgets_what_it_inherited(cache, other):
    cache.set("k", "old")
    assert (other("get", "k"), other("tier", "k")) == ("old", "memory")
    assert other("forked", "k") == [0, "redis", "memory"]
    cache.set("k", "new")
    other("until", "k", "new")  # the parent still hears
    assert other("child_has") == "new"


def test_a_process_that_listens_ends_without_closing(redis_url, prefix):
    with OtherProcess(redis_url, prefix=prefix) as other:
        other("set", "k", "v")
        assert other("live")
    assert other.process.returncode == 0
