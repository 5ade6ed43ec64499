"""Chains from URLs: every option of every backend and tier, without a connection, and no secret told."""

from __future__ import annotations

import functools
import inspect
import socket
import subprocess
import sys
import traceback
from importlib.metadata import entry_points
from urllib.parse import urlsplit

import pytest

from tiercache import Cache, DiskBackend, MemoryBackend, Tier, TierChain
from tiercache.config import find_backend, tier_from_url
from tiercache.errors import ConfigurationError, MissingExtra
from tiercache_redis import RedisBackend
from tiercache_s3 import S3Backend, S3StorageClass

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _no_connections(monkeypatch):
    def refuse(*_):
        raise AssertionError("a constructor must not connect")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)


@pytest.fixture
def arguments(monkeypatch):
    """What the constructors of Redis and S3 were given."""
    given = {}

    def record(backend_class):
        original = backend_class.__init__

        @functools.wraps(original)
        def init(self, *args, **kwargs):
            given.update(inspect.signature(original).bind(self, *args, **kwargs).arguments)
            original(self, *args, **kwargs)

        monkeypatch.setattr(backend_class, "__init__", init)

    record(RedisBackend)
    record(S3Backend)
    return given


def refusal(url):
    with pytest.raises(ConfigurationError) as caught:
        TierChain.from_urls(url)
    return caught.value


# What each part of a URL becomes


def test_a_chain_has_a_tier_for_each_url_in_their_order():
    chain = TierChain.from_urls("memory://", "redis://localhost", "s3://bucket", "memory://?max_entries=5", strict=True)
    assert [tier.name for tier in chain.tiers] == ["memory", "redis", "s3", "memory-2"]
    assert [type(tier.backend) for tier in chain.tiers] == [MemoryBackend, RedisBackend, S3Backend, MemoryBackend]
    assert chain.strict is True
    assert TierChain.from_urls("memory://").strict is False


def test_a_chain_from_urls_is_a_chain_that_works():
    with Cache(TierChain.from_urls("memory://?max_entries=2", "memory://")) as cache:
        cache.set_many({"a": 1, "b": 2, "c": 3})
        assert cache.get_many(list("abc")) == {"a": 1, "b": 2, "c": 3}
        assert len(cache.chain.memory) == 2


MEMORY = {
    "max_bytes=256MiB": ("max_bytes", 256 * 2**20),
    "max_bytes=1000": ("max_bytes", 1000),
    "max_bytes=none": ("max_bytes", None),
    "max_entries=500": ("max_entries", 500),
    "max_entries=none": ("max_entries", None),
    "eviction=lfu": ("eviction", "lfu"),
}

TIER = {
    "name=fast": ("name", "fast"),
    "timeout=0.25": ("timeout", 0.25),
    "timeout=250ms": ("timeout", 0.25),
    "timeout=none": ("timeout", None),
    "promote=second_hit": ("promote", "second_hit"),
    "promote=never": ("promote", "never"),
    "write=never": ("write", "never"),
    "max_ttl=30d": ("max_ttl", 30 * 86400.0),
    "max_ttl=none": ("max_ttl", None),
    "max_entry_bytes=1MB": ("max_entry_bytes", 10**6),
    "queue_entries=50": ("queue_entries", 50),
    "queue_bytes=1MB": ("queue_bytes", 10**6),
    "when_full=wait": ("when_full", "wait"),
}


@pytest.mark.parametrize("option", MEMORY)
def test_the_options_of_memory(option):
    name, value = MEMORY[option]
    assert getattr(tier_from_url(f"memory://?{option}").backend, name) == value


@pytest.mark.parametrize("start", ["memory://?", "disk://?", "redis://localhost/0?", "s3://bucket/?"])
@pytest.mark.parametrize("option", TIER)
def test_the_options_of_the_tier_go_with_every_backend(start, option):
    name, value = TIER[option]
    tier = tier_from_url(start + option)
    assert getattr(tier, name) == value
    if name == "timeout":
        assert tier.backend.timeout == value


def test_an_option_that_tier_and_backend_share_reaches_both():
    tier = tier_from_url("s3://bucket/?max_entry_bytes=64MiB&timeout=5")
    assert (tier.max_entry_bytes, tier.backend.max_entry_bytes) == (64 * 2**20, 64 * 2**20)
    assert (tier.timeout, tier.backend.timeout) == (5, 5)


def test_without_options_everything_is_the_backends_default():
    tier = tier_from_url("s3://bucket")
    assert (tier.timeout, tier.max_entry_bytes, tier.backend.max_entry_bytes) == (2.0, None, 16 * 2**20)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("disk:///var/cache/answers.sqlite3", "/var/cache/answers.sqlite3"),
        ("disk:///var/with%20space/%23.sqlite3", "/var/with space/#.sqlite3"),
        ("disk://?path=/var/cache/a.sqlite3", "/var/cache/a.sqlite3"),
    ],
)
def test_the_path_of_a_disk(url, path):
    assert tier_from_url(url).backend.path == DiskBackend(path).path


def test_a_disk_without_a_path_is_the_users_own(tmp_path, monkeypatch):
    monkeypatch.setenv("TIERCACHE_DIR", str(tmp_path))
    assert tier_from_url("disk://").backend.path == tmp_path / "cache.sqlite3"


def test_a_path_without_a_leading_slash_begins_in_the_current_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tier_from_url("disk://cache/a.sqlite3").backend.path == tmp_path / "cache" / "a.sqlite3"


def test_the_first_slash_before_a_drive_is_none_of_the_path():
    assert DiskBackend.url_arguments(urlsplit("disk:///C:/cache/a.sqlite3")) == {"path": "C:/cache/a.sqlite3"}


def test_the_options_of_a_disk():
    assert tier_from_url("disk:///a.sqlite3?max_bytes=3GiB").backend.max_bytes == 3 * 2**30


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:6379/0",
        f"redis://user:{SECRET}@example.com:7000/3",
        "rediss://example.com?ssl_cert_reqs=none&client_name=a+b",
        "unix:///run/redis.sock?db=2",
        "redis://[::1]:6380/1?protocol=3",
    ],
)
def test_redis_is_given_its_whole_url_with_the_options_of_redis_py(arguments, url):
    before, query, options = url.partition("?")
    own = "&prefix=app:&max_connections=7" if query else "?prefix=app:&max_connections=7"
    tier_from_url(f"{url}{own}&timeout=3&name=shared")
    assert arguments["url"] == f"{before}{query}{options}"
    assert (arguments["prefix"], arguments["max_connections"]) == ("app:", 7)


S3_OPTIONS = {
    "region": ("eu-central-1", "eu-central-1"),
    "endpoint_url": ("http://localhost:9000", "http://localhost:9000"),
    "storage_class": ("STANDARD_IA", S3StorageClass.STANDARD_IA),
    "profile": ("work", "work"),
    "sse": ("aws:kms", "aws:kms"),
    "kms_key_id": ("key", "key"),
    "path_style": ("true", True),
    "checksums": ("when_required", "when_required"),
    "timeout": ("3", "3"),
    "max_concurrency": ("4", 4),
    "max_entry_bytes": ("64MiB", "64MiB"),
    "typical_entry_bytes": ("12KiB", "12KiB"),
}


def test_the_options_of_s3(arguments):
    query = "&".join(f"{name}={text}" for name, (text, _) in S3_OPTIONS.items())
    tier_from_url(f"s3://bucket/some/prefix/?{query}")
    expected = {name: value for name, (_, value) in S3_OPTIONS.items()}
    given = {name: value for name, value in arguments.items() if name != "self"}
    assert given == {"bucket": "bucket", "prefix": "some/prefix/"} | expected


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False), ("1", True), ("0", False)])
def test_yes_and_no(arguments, text, value):
    tier_from_url(f"s3://bucket?path_style={text}")
    assert arguments["path_style"] is value


def test_no_option_was_forgotten_here():
    def options(target, *others):
        return set(inspect.signature(target).parameters) - {"clock", *others}

    assert {name for name, _ in MEMORY.values()} == options(MemoryBackend)
    assert {name for name, _ in TIER.values()} == options(
        Tier, "backend", "storage_classes", "breaker"
    )  # rules have no form as text; `breaker` is read back otherwise (test_breaker_tier)
    secrets = {"access_key_id", "secret_access_key", "session_token"}  # no URL may hold them
    assert set(S3_OPTIONS) == options(S3Backend, "bucket", "prefix", *secrets)
    assert options(DiskBackend) == {"path", "max_bytes"}
    assert options(RedisBackend) == {"url", "prefix", "timeout", "max_connections"}


def test_every_backend_that_is_installed_is_found_by_its_scheme():
    schemes = {point.name for point in entry_points(group="tiercache.backends")}
    assert {"memory", "disk", "redis", "rediss", "unix", "s3"} <= schemes
    assert {find_backend(scheme).scheme for scheme in schemes} <= schemes


# What is refused, and what the error says


@pytest.mark.parametrize("url", ["", "memory", "localhost:6379", "memory:max_bytes=5", "/var/cache", "redis://[::1"])
def test_what_is_no_url_is_refused_with_examples(url):
    assert "redis://host:6379/0" in str(refusal(url))


@pytest.mark.parametrize("value", [None, 5, b"memory://", MemoryBackend()])
def test_what_is_no_text_is_refused(value):
    assert f"not {type(value).__name__}" in str(refusal(value))


def test_an_unknown_scheme_is_refused_with_the_known_ones():
    message = str(refusal("memcached://localhost"))
    assert "memcached://" in message
    assert all(scheme in message for scheme in ("memory", "disk", "redis", "s3", "gs", "az"))


@pytest.mark.parametrize(
    ("url", "usable"),
    [
        ("memory://?max_size=5", "max_bytes"),
        ("disk://?max_size=5", "max_bytes"),
        ("s3://bucket?class=5", "storage_class"),
    ],
)
def test_an_unknown_option_is_refused_with_the_known_ones(url, usable):
    message = str(refusal(url))
    assert url.partition("?")[2].partition("=")[0] in message
    assert usable in message


@pytest.mark.parametrize("option", ["clock=1", "self=1", "bucket=other", "prefix=other"])
def test_what_text_cannot_say_or_the_path_says_is_no_option(option):
    assert "has no option" in str(refusal(f"s3://bucket/prefix/?{option}"))


def test_redis_refuses_an_option_that_neither_side_knows():
    assert "option" in str(refusal("redis://localhost/0?max_size=5"))


@pytest.mark.parametrize(
    "url", ["memory://?eviction=lru&eviction=lfu", "redis://h/0?db=1&db=1", "s3://b?name=a&name=b"]
)
def test_an_option_that_stands_twice_is_refused_by_name(url):
    message = str(refusal(url))
    assert "twice" in message
    assert url.rpartition("&")[2].partition("=")[0] in message


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("memory://?max_entries=ten", "max_entries"),
        ("memory://?max_entries=0", "max_entries"),
        ("memory://?max_entries=", "max_entries"),
        ("memory://?max_bytes=12+bananas", "max_bytes"),
        ("memory://?eviction=oldest", "eviction"),
        ("memory://?timeout=soon", "timeout"),
        ("memory://?timeout=-1", "timeout"),
        ("memory://?timeout=nan", "timeout"),
        ("memory://?promote=sometimes", "promote"),
        ("memory://?write=behind", "write"),
        ("memory://?max_ttl=0", "max_ttl"),
        ("memory://?name=", "name"),
        ("disk://?max_bytes=-5", "max_bytes"),
        ("s3://bucket?path_style=maybe", "path_style"),
        ("s3://bucket?max_concurrency=1.5", "max_concurrency"),
        ("s3://bucket?max_concurrency=0", "max_concurrency"),
        ("s3://bucket?sse=rot13", "sse"),
        ("s3://bucket?checksums=never", "checksums"),
        ("s3://bucket?storage_class=CHEAP", "storage_class"),
        ("s3://bucket?storage_class=GLACIER", "storage_class"),
        ("s3://", "bucket"),
        ("redis://localhost?max_connections=many", "max_connections"),
        ("redis://localhost?max_connections=0", "max_connections"),
    ],
)
def test_a_value_that_is_none_is_refused_and_the_option_is_named(url, name):
    assert name in str(refusal(url))


@pytest.mark.parametrize("url", ["memory://localhost", "memory:///path", "memory://max_bytes=256MiB"])
def test_memory_is_nowhere(url):
    assert "memory://?" in str(refusal(url))


@pytest.mark.parametrize("url", ["memory://#x", "disk:///a#b.sqlite3", "redis://:pass#word@localhost/0", "s3://b/#x"])
def test_what_stands_behind_a_hash_is_not_ignored(url):
    assert "percent-encode '#'" in str(refusal(url))


# What is not installed


@pytest.mark.parametrize(
    ("url", "module", "extra"), [("redis://localhost/0", "redis", "redis"), ("s3://bucket/", "boto3", "s3")]
)
def test_a_missing_package_names_the_extra_to_install(url, module, extra):
    script = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from tiercache import TierChain\n"
        "from tiercache.errors import MissingExtra\n"
        "TierChain.from_urls('memory://', 'disk://')\n"
        f"try: TierChain.from_urls('memory://', {url!r})\n"
        "except MissingExtra as error: print(error.extra, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith(f"{extra} ")
    assert f"install tiercache[{extra}]" in done.stdout


@pytest.mark.parametrize(("scheme", "extra"), [("redis", "redis"), ("s3", "s3"), ("gs", "gcs"), ("az", "azure")])
def test_a_backend_whose_package_is_not_there_names_its_extra(monkeypatch, scheme, extra):
    monkeypatch.setattr("tiercache.config.discovery.entry_points", lambda group: ())
    with pytest.raises(MissingExtra, match=rf"install tiercache\[{extra}\]") as caught:
        find_backend(scheme)
    assert caught.value.extra == extra


def test_memory_and_disk_need_no_installation(monkeypatch):
    monkeypatch.setattr("tiercache.config.discovery.entry_points", lambda group: ())
    assert (find_backend("memory"), find_backend("disk")) == (MemoryBackend, DiskBackend)


def test_a_backend_that_cannot_be_imported_is_an_error_of_the_configuration(monkeypatch):
    class Broken:
        name = "broken"

        def load(self):
            raise ImportError("its module is not there")

    monkeypatch.setattr("tiercache.config.discovery.entry_points", lambda group: [Broken()])
    with pytest.raises(ConfigurationError, match="broken://"):
        find_backend("broken")


# Secrets


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}@localhost:port/0",
        f"redis://:{SECRET}@localhost:99999/0",
        f"redis://:{SECRET}@[::1/0",
        f"redis://:{SECRET}\u2100@localhost/0",  # urlsplit quotes what it refuses
        f"redis://:{SECRET}#x@localhost/0",
        f"redis://:x#{SECRET}@localhost/0",
        f"redis://:{SECRET}?x@localhost/0",
        f"redis://:x?{SECRET}@localhost/0",
        f"redis://:x?{SECRET}=y@localhost/0",
        f"redis://:x/{SECRET}@localhost/0",
        f"redis://:{SECRET}@localhost/database",
        f"redis://:{SECRET}@localhost/0?db=one",
        f"redis://:{SECRET}@localhost/0?unknown=1",
        f"redis://:{SECRET}@localhost/0?prefix=",
        f"redis://localhost/0?password={SECRET}&db=one",
        f"unknown://user:{SECRET}@localhost",
        f"gs://user:{SECRET}@bucket",
        f"memory://user:{SECRET}@localhost",
        f"s3://key:{SECRET}@bucket/",
        f"s3://key?{SECRET}@bucket/",
        f"s3://key:x?max_concurrency={SECRET}@bucket/",
        f"s3://bucket/?secret_access_key={SECRET}",
        f"s3://bucket/?access_key_id=a&secret_access_key={SECRET}&secret_access_key={SECRET}",
        f"s3://bucket/?access_key_id=a&secret_access_key={SECRET}&unknown=1",
        f"s3://bucket/?access_key_id=a&secret_access_key={SECRET}&timeout=soon",
    ],
)
def test_no_error_tells_a_secret_of_the_url(url):
    error = refusal(url)
    assert SECRET not in "".join(traceback.format_exception(error, chain=True))
    while error is not None:
        assert SECRET not in repr(error)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize(
    "url",
    [
        f"s3://bucket/?access_key_id=a&secret_access_key={SECRET}",
        f"gs://bucket/?credentials_json={SECRET}",
        f"az://container/?account_url=https://a.blob.core.windows.net&credential={SECRET}",
        f"az://container/?connection_string={SECRET}",
    ],
)
def test_the_url_of_an_object_store_holds_no_credentials(url):
    assert "no credentials" in str(refusal(url))


def test_no_repr_tells_a_secret_of_the_url():
    chain = TierChain.from_urls(f"redis://user:{SECRET}@localhost/0")
    told = [repr(part) for part in (chain, chain.tiers[0], chain.tiers[0].backend, Cache(chain), Cache(chain).stats())]
    assert SECRET not in " ".join(told)


@pytest.mark.parametrize("make", [TierChain, Cache, Tier], ids=lambda make: make.__name__)
def test_a_url_in_place_of_a_backend_is_refused_without_telling_it(make):
    with pytest.raises(ConfigurationError, match="from_urls") as caught:
        make(f"redis://:{SECRET}@localhost/0")
    assert SECRET not in str(caught.value)
